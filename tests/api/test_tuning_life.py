"""What a fine-tuning job leaves behind: records of its life, models of its checkpoints, and nothing once cancelled."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.app import open_app
from freehold.config import load_settings
from freehold.types.model import ModelEntry
from tests.fuzz.walking import bearer, call
from tests.service import Service, eventually
from tests.tuning import JOBS, PROGRAM, begin, configured, ended, examples, look, messages, reached, send_file
from tests.tuning_server import COUNTING

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that trains one job at a time, and makes a model of each checkpoint."""
    folder = tmp_path_factory.mktemp("home")
    config = configured(folder / "models-to-be").replace("= 2", "= 1") + "\n"
    config = config.replace("[fine_tuning]", "[fine_tuning]\nexport_checkpoints = true")
    with Service(folder, config, program=PROGRAM) as service:
        yield service


def records(service: Service) -> list[Any]:
    """The administrative records of the journal, oldest first."""
    paths = sorted((service.home.journal / "main").glob("*.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [line["body"] for line in lines if line["kind"] == "admin"]


def life_of(service: Service, job_id: str) -> list[tuple[str, bool]]:
    """What became of a job, and whether somebody did it."""
    mine = [each for each in records(service) if each["resource_id"] == job_id]
    return [(each["event"].removeprefix("fine_tuning.job."), "principal" in each) for each in mine]


def test_a_jobs_life_stands_in_the_journal(service: Service) -> None:
    """It is made by somebody and ends by itself; its deployment is made by it, and removed by whoever removed it."""
    made = begin(service, suffix="life")
    name = ended(service, made["id"])["fine_tuned_model"]
    assert life_of(service, made["id"]) == [("created", True), ("succeeded", False)]
    assert service.request("DELETE", f"/v1/models/{name}", key=service.key).status == 200
    first, last = (each for each in records(service) if each["resource_id"] == name)
    assert (first["event"], first["details"], first["resource_project_id"]) == (
        "deployment.created",
        {"fine_tuning_job": made["id"]},
        "proj-default",
    )
    assert (last["event"], last["before_sha256"]) == ("deployment.deleted", first["after_sha256"])
    assert last["principal"]


def test_each_change_of_a_job_is_recorded_once(service: Service) -> None:
    """A pause, a resumption and a cancellation have a record each, with whoever did it; a second cancel has none."""
    made = begin(service, suffix="slow")
    reached(service, made["id"], "running")
    for what in ("pause", "resume", "cancel", "cancel"):
        assert service.request("POST", f"{JOBS}/{made['id']}/{what}", key=service.key).status == 200
        if what == "pause":
            reached(service, made["id"], "paused")
    eventually(lambda: not (service.home.jobs / made["id"]).exists(), "the folder goes")
    happened = ("created", "paused", "resumed", "cancelled")
    assert life_of(service, made["id"]) == [(each, True) for each in happened]


def test_a_job_that_breaks_off_when_it_is_to_pause_is_paused(service: Service) -> None:
    """It is told as paused, not as running, and goes on when it may; cancelled, it ends."""
    made = begin(service, suffix="sulky")
    reached(service, made["id"], "running")
    assert service.post(f"{JOBS}/{made['id']}/pause", None).status == 200
    reached(service, made["id"], "paused")
    assert any("ended unexpectedly" in each for each in messages(service, made["id"]))
    assert service.post(f"{JOBS}/{made['id']}/resume", None).status == 200
    reached(service, made["id"], "running")
    assert service.post(f"{JOBS}/{made['id']}/cancel", None).status == 200
    assert ended(service, made["id"])["status"] == "cancelled"


def test_a_waiting_job_is_told_what_is_wrong_with_its_file(service: Service) -> None:
    """While another job trains, a bad file fails its job at once, and a good one is queued."""
    training = begin(service, suffix="slow")
    reached(service, training["id"], "running")
    good = begin(service)
    bad = begin(service, data=examples() + b'{"messages": "none"}\n')
    done = ended(service, bad["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "invalid_training_file")
    assert "line 21" in done["error"]["message"]
    assert life_of(service, bad["id"]) == [("created", True), ("failed", False)]
    assert reached(service, good["id"], "queued")["started_at" if "started_at" in good else "finished_at"] is None
    assert look(service, training["id"])["status"] == "running", "nobody waited for it"
    assert service.request("POST", f"{JOBS}/{training['id']}/cancel", key=service.key).status == 200
    assert ended(service, good["id"])["status"] == "succeeded"
    told = Counter(messages(service, good["id"]))
    assert told["Files validated, moving job to queued state"] == 1
    assert told[f"Validating training file: {good['training_file']}"] == 1


def test_a_deleted_file_fails_its_waiting_job(service: Service) -> None:
    """A job whose file goes while it waits says so, unless the file was read before."""
    training = begin(service, suffix="slow")
    reached(service, training["id"], "running")
    file_id = send_file(service, examples())
    waiting = service.post(JOBS, {"model": "tiny", "training_file": file_id}).json()
    reached(service, waiting["id"], "queued")
    assert service.request("DELETE", f"/v1/files/{file_id}", key=service.key).status == 200
    service.request("POST", f"{JOBS}/{training['id']}/cancel", key=service.key)
    done = ended(service, waiting["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "file_unavailable")


def test_checkpoints_are_models_of_their_own(service: Service) -> None:
    """Each has a name with its step, is deployed and traced to its state, and differs from the job's last model."""
    done = ended(service, begin(service, suffix="steps")["id"])
    found = service.get(f"{JOBS}/{done['id']}/checkpoints", key=service.key).json()["data"]
    names = [each["fine_tuned_model_checkpoint"] for each in found]
    assert names == [f"{done['fine_tuned_model']}:ckpt-step-{step}" for step in (20, 15, 10, 5)]
    entries = {entry["name"]: entry for entry in service.get("/admin/models", key=service.key).json()["data"]}
    assert len({entries[name]["sha256"] for name in (*names, done["fine_tuned_model"])}) == 5
    assert entries[names[0]]["source"] == f"job://{done['id']}/step-20"
    assert service.get(f"/v1/models/{names[0]}", key=service.key).json()["id"] == names[0]
    deployed = service.get(f"/admin/deployments/{names[0]}", key=service.key).json()["settings"]
    assert (deployed["model"], deployed["project"]) == (names[0], "proj-default")
    tree = service.get(f"/v1/lineage/{names[0]}", key=service.key).json()["tree"]
    (state,) = [parent for parent in tree["parents"] if parent["kind"] == "checkpoint"]
    assert (state["name"], state["facts"]["step"]) == (f"{done['id']}/step-20", 20)
    assert {"model", "dataset", "recipe", "code"} == {parent["kind"] for parent in state["parents"]}
    assert service.request("DELETE", f"/v1/models/{names[0]}", key=service.key).status == 200
    assert service.get(f"/v1/models/{done['fine_tuned_model']}", key=service.key).status == 200


def test_a_job_cancelled_while_its_model_is_kept_leaves_none(tmp_path: Path) -> None:
    """The moment is between the model's entry in the catalog and the job's success: model, deployment, files go."""
    config = tmp_path / "freehold.toml"
    config.write_text(configured(tmp_path / "bases"), encoding="utf-8")
    settings = load_settings(config)

    async def scenario() -> None:
        async with open_app(tmp_path / "home", settings, trainer=COUNTING) as app:
            owner, json_type = bearer(app.admin_key), (b"content-type", b"application/json")
            kept, folder = asyncio.Event(), app.home.jobs

            async def ask(method: str, path: str, body: Any = None) -> Any:
                sent = b"" if body is None else json.dumps(body).encode()
                return json.loads((await call(app.asgi, method, path, owner, json_type, body=sent)).body)

            async def cancel(entry: ModelEntry) -> None:
                if entry.name.startswith("ft:"):
                    (job,) = (await ask("GET", JOBS))["data"]
                    assert (await ask("POST", f"{JOBS}/{job['id']}/cancel"))["status"] == "cancelled"
                    kept.set()

            app.catalog.on_entry(cancel)
            form = (b"content-type", b"multipart/form-data; boundary=b")
            head = '--b\r\ncontent-disposition: form-data; name="{}"{}\r\n\r\n'
            body = head.format("purpose", "").encode() + b"fine-tune\r\n"
            body += head.format("file", '; filename="a.jsonl"').encode() + examples() + b"\r\n--b--\r\n"
            file_id = json.loads((await call(app.asgi, "POST", "/v1/files", owner, form, body=body)).body)["id"]
            job = await ask("POST", JOBS, {"model": "tiny", "training_file": file_id})
            async with asyncio.timeout(60):
                await kept.wait()
                while (folder / job["id"]).exists():  # noqa: ASYNC110 - a folder has no event
                    await asyncio.sleep(0.02)
            now = await ask("GET", f"{JOBS}/{job['id']}")
            assert (now["status"], now["fine_tuned_model"], now["result_files"]) == ("cancelled", None, [])
            assert [entry for entry in await app.catalog.list() if entry.name.startswith("ft:")] == []
            assert [each for each in (await ask("GET", "/v1/models"))["data"] if each["id"].startswith("ft:")] == []
            results = [each for each in (await ask("GET", "/v1/files"))["data"] if each["purpose"] != "fine-tune"]
            assert results == []
            events = [each["message"] for each in (await ask("GET", f"{JOBS}/{job['id']}/events?limit=100"))["data"]]
            assert "The job has successfully completed" not in events

    asyncio.run(scenario())
