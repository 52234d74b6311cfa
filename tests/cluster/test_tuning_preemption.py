"""Serving and fine-tuning on one machine: callers take the room of a job that only counts, and it goes on later."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.spike import come, go
from tests.service import Service, eventually
from tests.tuning import PROGRAM, begin, configured, ended, look, messages, reached, receipts_of

pytestmark = pytest.mark.slow

CLUSTER = """
[cluster]
cores = 2
memory_bytes = 8000000000
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server whose cluster is two cores, all of which a job needs."""
    folder = tmp_path_factory.mktemp("home")
    config = configured(folder / "models-to-be").replace("[fine_tuning]", "[fine_tuning]\nthreads = 2")
    config = config.partition('[[deployment]]\nname = "echo"')[0]
    with Service(folder, config + CLUSTER, program=PROGRAM) as running:
        yield running


def trains(service: Service, job_id: str) -> bool:
    """Whether a job has a checkpoint."""
    return bool(service.get(f"/v1/fine_tuning/jobs/{job_id}/checkpoints", key=service.key).json()["data"])


def state(service: Service, job_id: str) -> Any:
    """How the queue has a job, as its callers are told."""
    jobs = service.get("/v1/jobs?limit=20", key=service.key).json()["data"]
    return next(each["state"] for each in jobs if each["subject"] == job_id)


def wanting(service: Service) -> set[str]:
    """Whoever has room, or wants it."""
    return {each["workload"] for each in service.get("/admin/arbiter", key=service.key).json()["workloads"]}


def test_callers_take_the_room_of_a_job_that_goes_on_later(service: Service) -> None:
    """It writes a checkpoint, waits, goes on from there, is charged each token once, and stands on one report."""
    made = begin(service, suffix="slow")
    eventually(lambda: trains(service, made["id"]), f"it trains: {service.log()[-3000:]}")
    come(service)
    waiting = look(service, made["id"])
    assert (waiting["status"], waiting["waits_for"], waiting["preemptions"]) == ("queued", "room", 1)
    assert state(service, made["id"]) == "preempted"
    go(service)
    done = ended(service, made["id"])
    assert (done["status"], done.get("waits_for"), done["trained_tokens"]) == ("succeeded", None, 15_000)
    told = messages(service, made["id"])
    (gave,) = [each for each in told if each.startswith("The job made room")]
    step = int(gave.partition("from step ")[2].split()[0])
    assert f"Training goes on from step {step}." in told
    assert sum(row["prompt_tokens"] for row in receipts_of(service, made["id"])) == 15_000
    (line,) = service.get("/admin/usage/showback", key=service.key).json()["data"]
    assert (line["trainings"], line["trained_tokens"], line["training_micro"]) == (1, 15_000, 7_500_000)
    assert line["core_us"] > 0
    compared = json.loads(service.post("/admin/reconcile", None).body.splitlines()[-1])["reconciliation"]
    assert (compared["gaps"], compared["stretches"]) == ([], 2)


def test_a_job_that_waits_for_room_is_cancelled_at_once(service: Service) -> None:
    """While another has the room a job is queued, its files looked through; cancelled, it asks no more."""
    first = begin(service, suffix="slow")
    reached(service, first["id"], "running")
    second = begin(service, suffix="slow")
    eventually(lambda: look(service, second["id"]).get("waits_for") == "room", f"it waits: {service.log()[-3000:]}")
    assert look(service, second["id"])["status"] == "queued"
    assert wanting(service) == {first["id"], second["id"]}
    for made in (second, first):
        path = f"/v1/fine_tuning/jobs/{made['id']}/cancel"
        assert service.request("POST", path, key=service.key).json()["status"] == "cancelled"
    eventually(lambda: not wanting(service), "nobody wants room")
    assert not (service.home.jobs / second["id"]).exists()
