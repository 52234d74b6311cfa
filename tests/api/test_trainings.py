"""Trainings as jobs of a running server: who may submit them, what is told, and what a killed server leaves."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_response_tenants import Members, people
from tests.gateway.training_bench import recipe
from tests.service import Service, eventually
from tests.training_jobs import JOBS, counting_python, look, reached, submit

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[training]
python = "{folder}/counting-python"
folders = ["{folder}/{{project}}"]
max_running = 4
max_running_per_project = 4
price_per_core_hour = "36"
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Members, Path]]:
    """A server on a home with members, and the folder in which those of a project may train."""
    folder = tmp_path_factory.mktemp("trainings")
    counting_python(folder)
    made = asyncio.run(people(folder / "home"))
    with Service(folder / "home", CONFIG.format(folder=folder)) as service:
        own = folder / "proj-default"
        own.mkdir()
        yield service, made, own


def test_a_training_is_submitted_and_told(there: tuple[Service, Members, Path]) -> None:
    """It trains, is told by its own API and as a job, and is on the showback report beside what was served."""
    service, _, own = there
    made = submit(service, own / "told").json()
    assert (made["object"], made["status"], made["name"], made["steps"]) == ("training.job", "queued", "steady", 20)
    done = reached(service, made["id"], "succeeded")
    assert (done["step"], done["trained_tokens"], done["preemptions"], done["error"]) == (20, 15_360, 0, None)
    assert done["metrics"]["loss"] == 0.05
    assert done["core_us"] * 36 // 3600 <= done["cost_micro"]
    assert done["recipe"] == recipe("steady", 20, 5)
    eventually(lambda: "finished_at" in job_of(service, made["id"]), "its job ends")
    job = job_of(service, made["id"])
    assert (job["id"], job["kind"], job["state"], job["done"], job["total"]) == (
        made["job"],
        "training",
        "succeeded",
        20,
        20,
    )
    listed = service.get(f"{JOBS}?limit=1", key=service.key).json()
    assert (listed["data"], listed["has_more"]) == ([done], False)
    report = service.get("/admin/usage/showback", key=service.key).json()
    (line,) = [line for line in report["data"] if line["project_id"] == "proj-default"]
    assert (line["project"], line["trainings"], line["trained_tokens"]) == ("Default project", 1, 15_360)
    assert (line["training_micro"], line["total_micro"]) == (done["cost_micro"], done["cost_micro"])
    assert line["core_us"] == done["core_us"]


def job_of(service: Service, training_id: str) -> Any:
    """The job of a training."""
    return service.get(f"/v1/jobs/{training_id}", key=service.key).json()


def test_what_cannot_be_done_is_refused(there: tuple[Service, Members, Path]) -> None:
    """What is wrong with a submission is named, and nothing is made of it."""
    service, _, own = there
    before = service.get(JOBS, key=service.key).json()["data"]
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"data": "texts"}, "data", "absolute path"),
        ({"out": "runs"}, "out", "absolute path"),
        ({"data": str(own / "none")}, "data", "no folder that the server can read"),
        ({"recipe": {}}, "recipe", "name: Field required"),
        ({"processes": 5}, "recipe", "12 samples cannot be divided among 5"),
        ({"zones": []}, "zones", "at least 1"),
        ({"devices": 2}, "devices", "devices"),
    ]
    for change, param, told in wrong:
        reply = submit(service, own / "wrong", **change)
        error = reply.json()["error"]
        assert (reply.status, error["param"]) == (400, param), error
        assert told in error["message"]
    assert service.get(JOBS, key=service.key).json()["data"] == before


def test_a_folder_has_one_training(there: tuple[Service, Members, Path]) -> None:
    """A folder that is another's, or holds a training, is a conflict; a cancelled training can be gone on with."""
    service, _, own = there
    first = submit(service, own / "one", name="patient").json()
    eventually(lambda: look(service, first["id"])["step"] == 19, "it trains")
    taken = submit(service, own / "one", name="patient")
    assert (taken.status, taken.json()["error"]["param"]) == (409, "out")
    cancelled = service.post(f"/v1/jobs/{first['id']}/cancel", None)
    assert cancelled.status == 200
    assert reached(service, first["id"], "cancelled")["step"] == 19
    assert service.post(f"/v1/jobs/{first['id']}/cancel", None).status == 409
    again = submit(service, own / "one", name="patient")
    assert "go on with it by 'resume'" in again.json()["error"]["message"]
    (own / "one" / "go").touch()
    second = submit(service, own / "one", name="patient", resume=True).json()
    done = reached(service, second["id"], "succeeded")
    assert done["trained_tokens"] == 12 * 64, "only what it did itself"


def test_it_is_paused_and_goes_on(there: tuple[Service, Members, Path]) -> None:
    """A paused training keeps its checkpoint and has no room; resumed, it goes on from there."""
    service, _, own = there
    made = submit(service, own / "paused", name="patient").json()
    eventually(lambda: look(service, made["id"])["step"] == 19, "it trains")
    assert service.post(f"/v1/jobs/{made['id']}/pause", None).status == 200
    paused = reached(service, made["id"], "paused")
    assert (paused["step"], paused["trained_tokens"]) == (19, 19 * 12 * 64)
    (own / "paused" / "go").touch()
    assert service.post(f"/v1/jobs/{made['id']}/resume", None).status == 200
    assert reached(service, made["id"], "succeeded")["trained_tokens"] == 15_360


def test_others_train_in_their_own_folders(there: tuple[Service, Members, Path]) -> None:
    """Who does not run the service trains in the folders of its project only, links followed, and sees only its own."""
    service, members, own = there
    key = members.keys["app"]
    made = submit(service, own / "apps", key).json()
    assert reached_as(service, made["id"], key)["status"] == "succeeded"
    (own / "link").symlink_to(own.parent)
    for out in (own.parent / "home" / "x", own / "link" / "x", own / ".." / "x", own.parent / "elsewhere" / "x"):
        reply = submit(service, out, key, data=str(own))
        assert (reply.status, reply.json()["error"]["param"]) == (403, "out"), out
    assert submit(service, own / "y", key, data=str(own.parent)).status == 403
    elsewhere = submit(service, own / "z", members.keys["elsewhere"])
    assert (elsewhere.status, elsewhere.json()["error"]["param"]) == (403, "data")
    for stranger in ("elsewhere", "abroad"):
        assert service.get(f"{JOBS}/{made['id']}", key=members.keys[stranger]).status == 404
        assert service.get(JOBS, key=members.keys[stranger]).json()["data"] == []
    assert service.get(f"{JOBS}/{made['id']}", key=members.keys["ann"]).status == 200, "its project's"
    assert service.get(JOBS).status == 401


def reached_as(service: Service, training_id: str, key: str) -> Any:
    """A training that has ended, as the holder of a key sees it."""
    eventually(lambda: look(service, training_id, key)["finished_at"] is not None, f"{training_id} ends")
    return look(service, training_id, key)


def test_who_has_no_python_that_trains_is_told(tmp_path: Path) -> None:
    """A server without what training needs says what to install, and takes no training."""
    config = f'[server]\nstarter = false\n\n[training]\npython = "{tmp_path}/none"\n'
    with Service(tmp_path / "home", config) as service:
        reply = submit(service, tmp_path / "run")
        assert (reply.status, reply.json()["error"]["code"]) == (503, "training_unavailable")
        assert "[training] python" in reply.json()["error"]["message"]


def test_a_killed_server_goes_on_with_it(tmp_path: Path) -> None:
    """A training outlives its server: the next goes on from its checkpoint, and both stretches are on the account."""
    counting_python(tmp_path)
    config, home = CONFIG.format(folder=tmp_path), tmp_path / "home"
    with Service(home, config) as service:
        made = submit(service, tmp_path / "run", name="patient").json()
        eventually(lambda: look(service, made["id"])["step"] == 19, "it trains")
        service.stop(signal.SIGKILL)
    (tmp_path / "run" / "go").touch()
    with Service(home, config) as service:
        done = reached(service, made["id"], "succeeded")
        assert (done["step"], done["trained_tokens"]) == (20, 15_360)
        service.stop()
    stretches = [
        line["body"]
        for path in sorted((home / "journal" / "main").glob("*.jsonl"))
        for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())
        if line["kind"] == "training"
    ]
    assert [each["outcome"] for each in stretches] == ["interrupted", "finished"]
    assert [(each["step_from"], each["step_to"]) for each in stretches] == [(0, 15), (15, 20)]
