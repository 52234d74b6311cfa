"""Evaluations as the official client makes, runs, reads and deletes them, in every dialect."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI
from openai.types.evals import RunCreateResponse, RunRetrieveResponse

from tests.conformance.recording import Dialect, Judge, client_for
from tests.evaluating import ASKED, ENDED, SCHEMA, check, items
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
parallel = 2
options = { delay_s = 0.2 }
"""
CRITERIA: list[Any] = [
    check("same"),
    {
        "type": "text_similarity",
        "name": "alike",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.answer }}",
        "evaluation_metric": "rouge_l",
        "pass_threshold": 0.5,
    },
    {
        "type": "label_model",
        "name": "label",
        "model": "echo",
        "input": [
            {"role": "developer", "content": "Label it."},
            {"role": "user", "content": "{{ sample.output_text }}"},
        ],
        "labels": ["good", "bad"],
        "passing_labels": ["good"],
    },
    {
        "type": "score_model",
        "name": "score",
        "model": "echo",
        "input": [{"role": "user", "content": "{{ sample.output_text }}"}],
        "range": [0, 5],
        "pass_threshold": 0,
        "sampling_params": {"temperature": 0.5, "seed": 1},
    },
]
CONFIGS: Any = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
SAME: list[Any] = [check()]
PAIRS = [("one two", "one two"), ("one two", "three")]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


@pytest.fixture
def client(service: Service, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client in each dialect."""
    with client_for(service, dialect, judge) as client:
        yield client


def asking(source: Any, model: str = "echo") -> Any:
    """A run's data source that asks a model."""
    return {"type": "completions", "source": source, "input_messages": ASKED, "model": model}


def done(client: OpenAI, run: RunCreateResponse) -> RunRetrieveResponse:
    """A run once it has ended."""

    def now() -> RunRetrieveResponse:
        return client.evals.runs.retrieve(run.id, eval_id=run.eval_id)

    eventually(lambda: now().status in ENDED, "the run ends")
    return now()


def test_an_evaluation_is_made_and_changed(client: OpenAI) -> None:
    """An evaluation is told with its criteria, its schema, and its metadata as they are now."""
    made = client.evals.create(
        name="quiz", data_source_config=CONFIGS, testing_criteria=CRITERIA, metadata={"team": "a"}
    )
    assert (made.name, made.metadata) == ("quiz", {"team": "a"})
    changed = client.evals.update(made.id, name="other", metadata={"team": "b"})
    assert (changed.name, changed.metadata, changed.id) == ("other", {"team": "b"}, made.id)
    assert client.evals.retrieve(made.id).model_dump() == changed.model_dump()
    assert made.id in {each.id for each in client.evals.list(order="desc", order_by="updated_at", limit=5)}
    assert client.evals.delete(made.id).deleted
    assert made.id not in {each.id for each in client.evals.list(order="desc", limit=100)}


def test_a_run_is_followed_to_its_items(client: OpenAI) -> None:
    """A run ends, with counts by criterion and usage by model; its items are listed and fetched."""
    made = client.evals.create(data_source_config=CONFIGS, testing_criteria=CRITERIA)
    run = client.evals.runs.create(made.id, name="first", data_source=asking(items(PAIRS)), metadata={"a": "b"})
    assert run.status in {"queued", "in_progress", "completed"}
    found = done(client, run)
    assert (found.status, found.name, found.metadata) == ("completed", "first", {"a": "b"})
    assert (found.result_counts.passed, found.result_counts.failed, found.result_counts.total) == (1, 1, 2)
    assert [(each.testing_criteria, each.passed) for each in found.per_testing_criteria_results] == [
        ("same", 1),
        ("alike", 1),
        ("label", 2),
        ("score", 2),
    ]
    assert found.per_model_usage[0].invocation_count == 6
    listed = client.evals.runs.output_items.list(run.id, eval_id=made.id, status="fail")
    (failed,) = listed.data
    assert [result.passed for result in failed.results] == [False, False, True, True]
    same = client.evals.runs.output_items.retrieve(failed.id, eval_id=made.id, run_id=run.id)
    assert failed.model_dump() == same.model_dump()
    assert run.id in {each.id for each in client.evals.runs.list(made.id, status="completed")}
    assert client.evals.runs.delete(run.id, eval_id=made.id).deleted


def test_a_run_reads_a_file(client: OpenAI) -> None:
    """Items of a file with the purpose `evals` are run like those of a request; a wrong line fails the run."""
    made = client.evals.create(data_source_config=CONFIGS, testing_criteria=SAME)
    lines = [{"item": {"question": question, "answer": answer}} for question, answer in PAIRS]
    for data, status in ((lines, "completed"), ([*lines, {"item": {}}], "failed")):
        text = "\n".join(json.dumps(each) for each in data).encode()
        file = client.files.create(file=("items.jsonl", text), purpose="evals")
        run = client.evals.runs.create(made.id, data_source=asking({"type": "file_id", "id": file.id}))
        found = done(client, run)
        assert found.status == status
        if status == "failed":
            assert "Line 3" in found.error.message


def test_a_run_is_cancelled(client: OpenAI, service: Service) -> None:
    """A run that is cancelled ends with what is done: at the path of the specification, and at that of the client."""
    made = client.evals.create(data_source_config=CONFIGS, testing_criteria=SAME)
    with OpenAI(base_url=f"{service.url}/v1", api_key=service.key) as other:
        first, second = (
            client.evals.runs.create(made.id, data_source=asking(items(PAIRS * 40), "slow")) for _ in range(2)
        )
        other.evals.runs.cancel(first.id, eval_id=made.id)
        service.post(f"/v1/evals/{made.id}/runs/{second.id}", {})
        assert [done(client, run).status for run in (first, second)] == ["canceled", "canceled"]


def test_stored_completions_are_evaluated(client: OpenAI) -> None:
    """What was stored is graded as it is; the evaluation tells the schema of its items."""
    client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "hello"}], store=True, metadata={"kind": "greeting"}
    )
    criterion: Any = {**check(), "reference": "hello"}
    made = client.evals.create(
        data_source_config={"type": "stored_completions", "metadata": {"kind": "greeting"}},
        testing_criteria=[criterion],
    )
    source: Any = {"type": "stored_completions", "metadata": {"kind": "greeting"}}
    run = client.evals.runs.create(made.id, data_source={"type": "completions", "source": source})
    assert done(client, run).result_counts.passed >= 1


def test_graders_are_tried(client: OpenAI) -> None:
    """The client's graders are checked and run, one with a model and one of several."""
    judge: Any = {name: value for name, value in CRITERIA[3].items() if name != "pass_threshold"}
    several: Any = {
        "type": "multi",
        "name": "both",
        "graders": {"same": {**check("same"), "reference": "x"}, "score": judge},
        "calculate_output": "(same + score) / 2",
    }
    single: Any = {**check("same"), "reference": "x"}
    for grader in (single, judge):
        assert client.fine_tuning.alpha.graders.validate(grader=grader).grader is not None
    found = client.fine_tuning.alpha.graders.run(grader=several, model_sample="x")
    assert (found.reward, found.sub_rewards["same"]) == (0.5, 1.0)
    assert found.metadata.token_usage
