"""Fine-tuning where it breaks: the process dies, the server is killed, memory and disk run out."""

import signal
from collections.abc import Iterator

import pytest

from tests.service import Service, eventually
from tests.tuning import JOBS, PROGRAM, begin, configured, ended, look, messages, receipts_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    folder = tmp_path_factory.mktemp("home")
    with Service(folder, configured(folder / "models-to-be"), program=PROGRAM) as service:
        yield service


def test_a_crash_is_tried_again_from_the_newest_checkpoint(service: Service) -> None:
    """A process that breaks off again and again finishes as long as it gets forward, and each token is charged once."""
    done = ended(service, begin(service, suffix="crash")["id"])
    assert (done["status"], done["trained_tokens"]) == ("succeeded", 2000)
    told = messages(service, done["id"])
    assert [each for each in told if each.startswith("Training goes on")] == [
        "Training goes on from step 5.",
        "Training goes on from step 10.",
        "Training goes on from step 15.",
    ]
    assert "The training process ended unexpectedly with status 9. The job is tried again." in told
    assert sum(row["prompt_tokens"] for row in receipts_of(service, done["id"])) == 2000


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("die", "training_crashed", "ended unexpectedly with status 7"),
        ("memory", "out_of_memory", "more memory than there is"),
        ("disk", "disk_full", "The disk of the server is full"),
        ("odd", "training_crashed", "ended unexpectedly"),
    ],
)
def test_a_job_that_never_gets_forward_fails(service: Service, how: str, code: str, said: str) -> None:
    """Three times without a new checkpoint are enough; the error says why in plain words, and nothing is charged."""
    done = ended(service, begin(service, suffix=how)["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", code)
    assert said in done["error"]["message"]
    assert "3 times" in done["error"]["message"]
    assert receipts_of(service, done["id"]) == []
    assert not (service.home.jobs / done["id"]).exists()


def test_a_killed_server_goes_on_from_the_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> None:
    """After SIGKILL the process is gone with its server, and the next server trains on to the end."""
    folder = tmp_path_factory.mktemp("home")
    config = configured(folder / "models-to-be")
    with Service(folder, config, program=PROGRAM) as service:
        made = begin(service, suffix="slow")
        eventually(lambda: bool(checkpoints(service, made["id"])), "has a checkpoint")
        service.stop(signal.SIGKILL)
        before = (service.home.jobs / made["id"] / "checkpoints").iterdir()
        step = max(int(path.name.partition("-")[2]) for path in before)
    stray = service.home.jobs / "ftjob-stray"
    stray.mkdir()
    with Service(folder, config, program=PROGRAM) as service:
        eventually(
            lambda: f"Training goes on from step {step}." in messages(service, made["id"]),
            f"goes on; {service.log()[-2000:]}",
        )
        assert not stray.exists()
        assert look(service, made["id"])["status"] == "running"
        assert service.request("POST", f"{JOBS}/{made['id']}/cancel", key=service.key).status == 200
        eventually(lambda: not (service.home.jobs / made["id"]).exists(), "the folder goes")


def test_an_orderly_restart_loses_no_step_that_was_saved(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server that is stopped while a job trains takes it up again when it is back, and finishes it."""
    folder = tmp_path_factory.mktemp("home")
    config = configured(folder / "models-to-be")
    with Service(folder, config, program=PROGRAM) as service:
        made = begin(service, suffix="slow")
        eventually(lambda: bool(checkpoints(service, made["id"])), "has a checkpoint")
        assert service.stop() == 0
    with Service(folder, config, program=PROGRAM) as service:
        done = ended(service, made["id"])
        assert done["status"] == "succeeded"
        assert sum(row["prompt_tokens"] for row in receipts_of(service, done["id"])) == done["trained_tokens"]


def checkpoints(service: Service, job_id: str) -> list[int]:
    """The steps of a job's checkpoints."""
    found = service.get(f"{JOBS}/{job_id}/checkpoints", key=service.key).json()
    return [each["step_number"] for each in found["data"]]
