"""Fine-tuning as the official client asks for it, in every dialect; the training program only counts."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.conformance.recording import Dialect, Judge, client_for
from tests.conftest import StarterModels
from tests.service import Service, eventually
from tests.tuning import ENDED, PROGRAM, examples

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[fine_tuning]
max_running = 4
max_running_per_project = 4

[[deployment]]
name = "chat"
model = "smollm2-135m-instruct"
start = "on_demand"
context_length = 512

[[deployment]]
name = "embed"
model = "all-minilm-l6-v2"
task = "embeddings"
start = "on_demand"
"""
GRADER: dict[str, Any] = {
    "type": "string_check",
    "name": "same",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.answer }}",
    "operation": "eq",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, starter_models: StarterModels) -> Iterator[Service]:
    """A server with the starter models."""
    home = starter_models.lay(tmp_path_factory.mktemp("tuned") / "home")
    with Service(home, CONFIG, program=PROGRAM) as service:
        yield service


@pytest.fixture
def client(service: Service, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client in each dialect."""
    with client_for(service, dialect, judge) as client:
        yield client


def uploaded(client: OpenAI, data: bytes) -> str:
    """A file of examples; its id."""
    return client.files.create(file=("examples.jsonl", data), purpose="fine-tune").id


def done(client: OpenAI, job: FineTuningJob) -> FineTuningJob:
    """A job once it has ended."""
    eventually(lambda: client.fine_tuning.jobs.retrieve(job.id).status in ENDED, "the job ends")
    return client.fine_tuning.jobs.retrieve(job.id)


def test_a_model_is_trained_and_answers(service: Service, client: OpenAI, dialect: Dialect) -> None:
    """From the files to a chat with the model by its name, and its removal, without another call in between."""
    training, validation = uploaded(client, examples()), uploaded(client, examples(10))
    job = client.fine_tuning.jobs.create(
        model="chat",
        training_file=training,
        validation_file=validation,
        suffix=dialect,
        seed=3,
        metadata={"dialect": dialect},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        extra_body={"export": "f16"},
    )
    assert (job.object, job.model, job.seed, job.validation_file) == ("fine_tuning.job", "chat", 3, validation)
    assert job.method is not None
    assert job.method.type == "supervised"
    found = done(client, job)
    assert (found.status, found.trained_tokens) == ("succeeded", 2000), found.error
    name = found.fine_tuned_model
    assert name is not None
    events = client.fine_tuning.jobs.list_events(job.id, limit=3)
    assert events.data[0].message == "The job has successfully completed"
    assert sum(1 for _ in client.fine_tuning.jobs.list_events(job.id, limit=20)) > 25, "the client pages through"
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert checkpoints.data[0].step_number == 20
    assert client.files.content(found.result_files[0]).read().startswith(b"step,train_loss")
    listed = client.fine_tuning.jobs.list(metadata={"dialect": dialect})
    assert [each.id for each in listed] == [job.id]
    messages: Any = [{"role": "user", "content": "Say hello."}]
    answer = client.chat.completions.create(model=name, messages=messages, max_tokens=4)
    assert answer.choices[0].message.content
    if dialect != "azure":  # whose dated list of models has a shape of its own
        assert name in {model.id for model in client.models.list()}
    assert client.models.delete(name).deleted
    with client_for(service, dialect, Judge(None, None)) as other, pytest.raises(openai.NotFoundError):
        other.models.retrieve(name)


def test_a_grader_rewards_what_the_model_says(client: OpenAI) -> None:
    """Reinforcement asks the grader for each answer, and the rewards are among the metrics."""
    method: Any = {"type": "reinforcement", "reinforcement": {"grader": GRADER}}
    job = client.fine_tuning.jobs.create(
        model="chat",
        training_file=uploaded(client, reinforced()),
        method=method,
    )
    found = done(client, job)
    assert found.status == "succeeded", found.error
    events = [event for event in client.fine_tuning.jobs.list_events(job.id, limit=100) if event.type == "metrics"]
    rewards = {event.data["step"]: event.data["train_mean_reward"] for event in events}  # type: ignore[index]
    assert (rewards[1], rewards[2]) == (1.0, 0.0)
    assert client.files.content(found.result_files[0]).read().splitlines()[0].endswith(b"train_mean_reward,tokens")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": "embed"}, "model"),
        ({"model": "gone"}, "model"),
        ({"training_file": "file-gone"}, "training_file"),
        (
            {"method": {"type": "reinforcement", "reinforcement": {"grader": {**GRADER, "input": "{{ x.y.z"}}}},
            "method.reinforcement.grader.input",
        ),
        (
            {"method": {"type": "reinforcement", "reinforcement": {"grader": {"type": "python", "name": "p"}}}},
            "method.reinforcement.grader",
        ),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 9}}}}, "method.dpo.hyperparameters.beta"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
    ],
)
def test_wrong_requests_are_refused(service: Service, dialect: Dialect, judge: Judge, more: Any, param: str) -> None:
    """Errors are those of OpenAI, and name the parameter; Azure's have another shape where something is not there."""
    with client_for(service, dialect, judge if dialect == "openai" else Judge(None, None)) as client:
        asked: dict[str, Any] = {"model": "chat", "training_file": uploaded(client, examples()), **more}
        with pytest.raises(openai.APIStatusError) as caught:
            client.fine_tuning.jobs.create(**asked)
    assert caught.value.status_code in {400, 404}
    if dialect == "openai" or caught.value.status_code == 400:
        assert str(caught.value.param).startswith(param)


def test_a_job_is_paused_resumed_and_cancelled(service: Service, dialect: Dialect) -> None:
    """The client's pause, resume and cancel do what they say; OpenAI's document has no word for a paused job."""
    with client_for(service, dialect, Judge(None, None)) as client:
        job = client.fine_tuning.jobs.create(model="chat", training_file=uploaded(client, examples()), suffix="slow")
        eventually(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "running", "it runs")
        client.fine_tuning.jobs.pause(job.id)
        eventually(lambda: str(client.fine_tuning.jobs.retrieve(job.id).status) == "paused", "it is paused")
        client.fine_tuning.jobs.resume(job.id)
        eventually(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "running", "it runs again")
        assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
        eventually(lambda: not (service.home.jobs / job.id).exists(), "the folder goes")


def reinforced() -> bytes:
    """Examples whose answers are graded."""
    return b"".join(
        b'{"messages": [{"role": "user", "content": "yes or no? %d"}], "answer": "yes"}\n' % n for n in range(10)
    )
