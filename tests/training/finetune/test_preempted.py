"""A real fine-tuning whose room callers take: it makes the same model as one that nobody disturbed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.spike import come, go
from tests.service import Service, eventually
from tests.training.finetune.data_sets import split, tickets, write
from tests.tuning import JOBS, begin, ended, look

pytestmark = [pytest.mark.slow, pytest.mark.finetune, pytest.mark.long]

CONFIG = """
[server]
starter = false

[cluster]
cores = 2
memory_bytes = 8000000000

[fine_tuning]
python = "{python}"
threads = 1
deploy = "never"

[[deployment]]
name = "tiny"
model = "file://{base}"
start = "on_demand"
"""
PATIENCE_S = 600.0


@pytest.fixture(scope="module")
def service(python: str, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server whose cluster is two cores."""
    folder = tmp_path_factory.mktemp("home")
    with Service(folder, CONFIG.format(python=python, base=tiny_base)) as running:
        yield running


def test_a_preempted_job_makes_the_same_model(service: Service, tmp_path: Path) -> None:
    """Numbers of every step, and every weight of the model, are those of the same job undisturbed."""
    training, validation = split(tickets(48), 40)
    write(tmp_path / "training.jsonl", training)
    data = (tmp_path / "training.jsonl").read_bytes()
    assert validation
    job: dict[str, Any] = {
        "seed": 5,
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 20}}},
    }
    made = [begin(service, data=data, **job) for _ in range(2)]
    disturbed, quiet = (each["id"] for each in made)
    eventually(lambda: steps(service, disturbed) > 3, f"it trains: {service.log()[-3000:]}", PATIENCE_S)
    come(service)
    assert look(service, disturbed)["preemptions"] == 1
    go(service)
    done = [finished(service, each) for each in (disturbed, quiet)]
    assert [each["status"] for each in done] == ["succeeded", "succeeded"], done
    assert "preemptions" not in done[1], "a job that nothing happened to is as OpenAI writes it"
    assert metrics(service, disturbed) == metrics(service, quiet)
    one, other = (weights(service, each) for each in done)
    assert one == other


def steps(service: Service, job_id: str) -> int:
    """How many steps of a job are told."""
    return len(metrics(service, job_id))


def metrics(service: Service, job_id: str) -> dict[int, Any]:
    """What was measured at each step."""
    found: dict[int, Any] = {}
    after, more = "", True
    while more:
        page = service.get(f"{JOBS}/{job_id}/events?limit=100{after}", key=service.key).json()
        for event in page["data"]:
            if event["type"] == "metrics":
                found.setdefault(event["data"]["step"], event["data"])
        more, after = page["has_more"], f"&after={page['data'][-1]['id']}" if page["data"] else ""
    return found


def finished(service: Service, job_id: str) -> Any:
    """A job once it has ended."""
    eventually(lambda: look(service, job_id)["finished_at"] is not None, f"{job_id} ends", PATIENCE_S)
    return ended(service, job_id)


def weights(service: Service, job: Any) -> bytes:
    """The file of a job's model without its own name, which is of the same length for all."""
    entries = service.get("/admin/models", key=service.key).json()["data"]
    sha256 = next(each["sha256"] for each in entries if each["name"] == job["fine_tuned_model"])
    (path,) = service.home.models.rglob(f"*{sha256}*")
    return path.read_bytes().replace(job["fine_tuned_model"].encode(), b"")
