"""Fine-tuning jobs by the API of a running server whose training program only counts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.gateway.tuned_models import deployment_of
from freehold.gateway.tuning_messages import MOST_NUMBERS, MOST_TOLD
from freehold.types.deployment import CanarySettings, DeploymentSettings
from freehold.types.model import ModelEntry
from tests.api.test_kept_content import make_project
from tests.service import Service, eventually
from tests.tuning import (
    JOBS,
    PROGRAM,
    begin,
    configured,
    ended,
    examples,
    look,
    messages,
    reached,
    receipts_of,
    send_file,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    folder = tmp_path_factory.mktemp("home")
    with Service(folder, configured(folder / "models-to-be"), program=PROGRAM) as service:
        yield service


def entry_of(service: Service, name: str) -> Any:
    """The catalog's entry of a model; None if there is none."""
    found = service.get("/admin/models", key=service.key).json()["data"]
    return next((entry for entry in found if entry["name"] == name), None)


def test_a_job_makes_a_model_that_its_project_can_call(service: Service) -> None:
    """It is validated, trained and succeeds; its model is listed, described with its base, and can be deleted."""
    made = begin(service, suffix="style", seed=7, metadata={"team": "red"}, hyperparameters={"n_epochs": 3})
    assert (made["status"], made["seed"], made["metadata"]) == ("validating_files", 7, {"team": "red"})
    assert made["hyperparameters"] == {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"}
    done = ended(service, made["id"])
    assert (done["status"], done["error"], done["trained_tokens"]) == ("succeeded", None, 2000)
    assert done["hyperparameters"] == {"n_epochs": 2, "batch_size": 2, "learning_rate_multiplier": 1.0}
    name = done["fine_tuned_model"]
    assert name == f"ft:tiny:proj-default:style:{made['id'][-8:]}"
    assert done["finished_at"] >= done["created_at"]
    model = service.get(f"/v1/models/{name}", key=service.key).json()
    assert (model["id"], model["owned_by"]) == (name, "proj-default")
    entry = entry_of(service, name)
    assert (entry["source"], entry["details"]["parent"]) == (f"job://{made['id']}", "tiny-base")
    deployment = service.get(f"/admin/deployments/{name}", key=service.key).json()["settings"]
    assert (deployment["project"], deployment["start"]) == ("proj-default", "on_demand")
    assert deployment["price"]["input"] == "1"
    assert not (service.home.jobs / made["id"]).exists()
    assert service.request("DELETE", f"/v1/models/{name}", key=service.key).json()["deleted"] is True
    assert service.get(f"/v1/models/{name}", key=service.key).status == 404
    assert entry_of(service, name) is None
    assert service.request("DELETE", f"/v1/models/{name}", key=service.key).status == 404


def test_events_checkpoints_and_files_tell_how_it_went(service: Service) -> None:
    """Events page from the newest on, checkpoints have metrics, and the files are a table and a chart."""
    made = begin(service)
    done = ended(service, made["id"])
    told = messages(service, made["id"])
    assert told[0] == f"Created fine-tuning job: {made['id']}"
    assert told[-1] == "The job has successfully completed"
    assert "Step 20/20: training loss=0.05" in told
    first = service.get(f"{JOBS}/{made['id']}/events?limit=2", key=service.key).json()
    after = first["data"][-1]["id"]
    second = service.get(f"{JOBS}/{made['id']}/events?limit=2&after={after}", key=service.key).json()
    assert first["has_more"]
    assert {event["id"] for event in first["data"]}.isdisjoint(event["id"] for event in second["data"])
    metrics = next(event for event in second["data"] + first["data"] if event["type"] == "metrics")
    assert metrics["data"]["total_steps"] == 20
    found = service.get(f"{JOBS}/{made['id']}/checkpoints", key=service.key).json()
    assert [each["step_number"] for each in found["data"]] == [20, 15, 10, 5]
    assert found["data"][0]["metrics"]["train_loss"] == 0.05
    assert found["first_id"] == found["data"][0]["id"]
    table, chart = (service.get(f"/v1/files/{name}/content", key=service.key) for name in done["result_files"])
    lines = table.body.decode().splitlines()
    assert lines[0].startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy")
    assert (len(lines), lines[2].split(",")[:2]) == (21, ["2", "0.5"])
    assert chart.body.startswith(b"<svg")
    assert service.get(f"/v1/files/{done['result_files'][0]}", key=service.key).json()["purpose"] == "fine-tune-results"


def test_a_model_can_be_traced_to_its_data(service: Service) -> None:
    """Its artifact names base, data set, recipe, code and the last checkpoint, and the data set its file."""
    file_id = send_file(service, examples(said="traced"))
    made = service.post(JOBS, {"model": "tiny", "training_file": file_id}).json()
    name = ended(service, made["id"])["fine_tuned_model"]
    tree = service.get(f"/v1/lineage/{name}", key=service.key).json()["tree"]
    parents = {parent["kind"]: parent for parent in tree["parents"]}
    assert set(parents) == {"model", "dataset", "recipe", "code", "checkpoint"}
    assert [each["name"] for each in parents["dataset"]["parents"]] == [file_id]
    assert parents["checkpoint"]["name"] == f"{made['id']}/step-20"
    assert parents["recipe"]["facts"]["n_epochs"] == 2


def test_trained_tokens_are_metered(service: Service) -> None:
    """A job has a receipt with its tokens and what they cost, and names the job."""
    made = begin(service)
    ended(service, made["id"])
    (row,) = receipts_of(service, made["id"])
    assert (row["outcome"], row["deployment"], row["prompt_tokens"]) == ("finished", "tiny", 2000)
    assert row["cost_micro"] == 1_000_000


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"model": "echo"}, "model", "model_not_tunable"),
        ({"model": "nothing"}, "model", "model_not_found"),
        ({"training_file": "file-0"}, "training_file", "not_found"),
        ({"validation_file": "file-0"}, "validation_file", "not_found"),
        ({"suffix": "two words"}, "suffix", "invalid_value"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method.supervised", "invalid_value"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations", "invalid_value"),
        ({"n_epochs": 3}, "n_epochs", "unknown_parameter"),
    ],
)
def test_what_cannot_be_trained_is_refused(service: Service, more: Any, param: str, code: str) -> None:
    """The error names the parameter; of a model that cannot be trained, also those that can be."""
    asked = {"model": "tiny", "training_file": send_file(service, examples()), **more}
    error = service.post(JOBS, asked).json()["error"]
    assert (error["param"], error["code"]) == (param, code)
    if code == "model_not_tunable":
        assert "tiny" in error["message"]


def test_a_file_for_something_else_is_refused(service: Service) -> None:
    """A file with another purpose cannot train."""
    file_id = send_file(service, b'{"a": 1}\n', purpose="evals")
    error = service.post(JOBS, {"model": "tiny", "training_file": file_id}).json()["error"]
    assert (error["param"], error["code"]) == ("training_file", "invalid_file_purpose")


def test_a_bad_file_fails_the_job_and_names_its_lines(service: Service) -> None:
    """The error is the first problem, and events name line and field of each."""
    lines = examples().splitlines()
    lines[3] = b'{"messages": [{"role": "user", "content": 5}]}'
    lines[5] = b"no json"
    done = ended(service, begin(service, data=b"\n".join(lines))["id"])
    assert done["status"] == "failed"
    assert (done["error"]["code"], done["error"]["param"]) == ("invalid_training_file", "training_file")
    assert "line 4" in done["error"]["message"]
    told = messages(service, done["id"])
    assert any("line 4" in message for message in told)
    assert any("line 6" in message for message in told)
    assert done["fine_tuned_model"] is None


def test_what_the_training_complains_of_is_the_jobs_error(service: Service) -> None:
    """What the program says of its input stands in the error."""
    done = ended(service, begin(service, suffix="bad")["id"])
    assert done["error"] == {
        "code": "example_too_long",
        "message": "Line 3 has too many tokens.",
        "param": "training_file",
    }


def test_what_the_training_says_is_bounded(service: Service) -> None:
    """Events are cut, metrics are few and finite, and what counts nothing ends the run."""
    done = ended(service, begin(service, suffix="wild")["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "training_crashed")
    events = service.get(f"{JOBS}/{done['id']}/events?limit=100", key=service.key).json()["data"]
    assert max(len(event["message"]) for event in events) == MOST_TOLD
    measured = [event["data"] for event in events if event["type"] == "metrics"]
    assert max(len(data) for data in measured) <= MOST_NUMBERS + 2
    assert all("large" not in data for data in measured)


def test_a_flood_of_events_ends_the_run(service: Service) -> None:
    """A process that tells thousands of events is stopped."""
    done = ended(service, begin(service, suffix="flood")["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "training_crashed")


def test_a_tuned_model_inherits_no_rollout() -> None:
    """What the base's deployment says of promotion, canary and upgrades is about the base."""
    canary = CanarySettings(model="other", share=0.5)
    base = DeploymentSettings(name="base", model="base", canary=canary, promote_if="quiz >= 1", upgrade="new_default")
    name = "ft:base:proj-1:own:01a22079"
    details = {"project": "proj-1"}
    made = deployment_of(base, ModelEntry(name, "job://ftjob-1", "a" * 64, "a" * 64, 1, "gguf", details, 0))
    assert (made.model, made.project) == (name, "proj-1")
    assert (made.canary, made.promote_if, made.upgrade) == (None, None, "never")


def test_a_job_is_cancelled(service: Service) -> None:
    """A running job ends as cancelled at once, its process goes, and it cannot be paused any more."""
    made = begin(service, suffix="slow")
    reached(service, made["id"], "running")
    stopped = service.request("POST", f"{JOBS}/{made['id']}/cancel", key=service.key).json()
    assert stopped["status"] == "cancelled"
    assert service.request("POST", f"{JOBS}/{made['id']}/cancel", key=service.key).status == 200
    eventually(lambda: not (service.home.jobs / made["id"]).exists(), "the folder goes")
    assert look(service, made["id"])["status"] == "cancelled"
    assert service.request("POST", f"{JOBS}/{made['id']}/pause", key=service.key).status == 409
    assert look(service, made["id"])["fine_tuned_model"] is None
    assert look(service, made["id"])["estimated_finish"] is None, "nothing more is expected of it"


def test_a_job_is_paused_and_resumed(service: Service) -> None:
    """It stops with a checkpoint and goes on from it."""
    made = begin(service, suffix="slow")
    reached(service, made["id"], "running")
    eventually(lambda: any("Step" in each for each in messages(service, made["id"])), "trains")
    assert service.request("POST", f"{JOBS}/{made['id']}/pause", key=service.key).status == 200
    reached(service, made["id"], "paused")
    step = service.get(f"{JOBS}/{made['id']}/checkpoints", key=service.key).json()["data"][0]["step_number"]
    assert service.request("POST", f"{JOBS}/{made['id']}/resume", key=service.key).status == 200
    reached(service, made["id"], "running")
    assert f"Training goes on from step {step}." in messages(service, made["id"])
    assert service.request("POST", f"{JOBS}/{made['id']}/cancel", key=service.key).status == 200


def test_azures_models_tell_what_can_be_trained(service: Service) -> None:
    """`capabilities.fine_tune` is true of a deployment whose model a job takes, and false of any other."""
    model = ended(service, begin(service)["id"])["fine_tuned_model"]
    found = service.get("/openai/models?api-version=2024-10-21", key=service.key).json()["data"]
    told = {each["id"]: each["capabilities"]["fine_tune"] for each in found}
    assert (told["tiny"], told["echo"], told[model]) == (True, False, True)


def test_jobs_are_listed_by_metadata(service: Service) -> None:
    """The list begins with the newest, pages, and takes a filter."""
    ids = [begin(service, metadata={"list": "one", "n": str(n)})["id"] for n in range(3)]
    found = service.get(f"{JOBS}?metadata[list]=one&limit=2", key=service.key).json()
    assert ([each["id"] for each in found["data"]], found["has_more"]) == (ids[:0:-1], True)
    rest = service.get(f"{JOBS}?metadata[list]=one&after={ids[1]}", key=service.key).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (ids[:1], False)
    assert service.get(f"{JOBS}?metadata[n]=1&metadata[list]=one", key=service.key).json()["data"][0]["id"] == ids[1]
    assert service.get(f"{JOBS}?metadata[list]=none", key=service.key).json()["data"] == []
    assert service.get(f"{JOBS}?metadata=x", key=service.key).status == 400
    for each in ids:
        ended(service, each)


def test_another_project_sees_neither_job_nor_model(service: Service) -> None:
    """Jobs, their parts and their models do not exist for another project."""
    _, key = make_project(service, "Other")
    done = ended(service, begin(service)["id"])
    for path in ("", "/events", "/checkpoints"):
        assert service.get(f"{JOBS}/{done['id']}{path}", key=key).status == 404
    for what in ("cancel", "pause", "resume"):
        assert service.request("POST", f"{JOBS}/{done['id']}/{what}", key=key).status == 404
    assert service.get(JOBS, key=key).json()["data"] == []
    name = done["fine_tuned_model"]
    assert service.get(f"/v1/models/{name}", key=key).status == 404
    assert service.request("DELETE", f"/v1/models/{name}", key=key).status == 404
    asked = {"model": name, "training_file": send_file(service, examples(), key)}
    assert service.post(JOBS, asked, key=key).json()["error"]["code"] == "model_not_found"


def test_a_model_is_trained_further(service: Service) -> None:
    """A fine-tuned model is a base, and the name of its own base stands in the new name."""
    first = ended(service, begin(service, suffix="one")["id"])
    second = ended(service, begin(service, model=first["fine_tuned_model"], suffix="two")["id"])
    assert second["fine_tuned_model"] == f"ft:tiny:proj-default:two:{second['id'][-8:]}"
    entry = entry_of(service, second["fine_tuned_model"])
    assert entry["details"]["parent"] == first["fine_tuned_model"]


def test_an_erased_project_leaves_no_model(service: Service) -> None:
    """Its jobs, its models, their deployments and the folders of what runs go."""
    project_id, key = make_project(service, "Gone")
    done = ended(service, begin(service, key)["id"], key)
    running = begin(service, key, suffix="slow")
    eventually((service.home.jobs / running["id"] / "task.json").exists, "it trains")
    erased = service.request("POST", f"/v1/organization/projects/{project_id}/erase", key=service.key)
    assert '"fine_tuning":2' in erased.body.decode().replace(" ", "").replace("\\", "")
    assert entry_of(service, done["fine_tuned_model"]) is None
    assert service.get(f"/admin/deployments/{done['fine_tuned_model']}", key=service.key).status == 404
    eventually(lambda: not (service.home.jobs / running["id"]).exists(), "the folder goes")


def test_a_revoked_key_stops_its_job(service: Service) -> None:
    """What trains for a key ends when the key is revoked."""
    project_id, key = make_project(service, "Revoked")
    made = begin(service, key, suffix="slow")
    eventually(lambda: look(service, made["id"], key)["status"] == "running", "it trains")
    keys = service.get(f"/v1/organization/projects/{project_id}/api_keys", key=service.key).json()["data"]
    for each in keys:
        service.request("DELETE", f"/v1/organization/projects/{project_id}/api_keys/{each['id']}", key=service.key)
    eventually(lambda: not (service.home.jobs / made["id"]).exists(), f"ends; {service.log()[-2000:]}")


def test_the_process_has_no_network(service: Service) -> None:
    """The program cannot reach anything."""
    done = ended(service, begin(service, suffix="leak")["id"])
    assert "network: False" in messages(service, done["id"])


def test_nothing_of_a_caller_lies_in_the_clear(service: Service) -> None:
    """Metadata, examples and events are ciphertext in the database, and the journal has none of them."""
    made = begin(service, data=examples(said="telltale words"), metadata={"secret": "telltale"})
    ended(service, made["id"])
    lying = b"".join(path.read_bytes() for path in service.home.root.glob("freehold.db*"))
    journal = b"".join(path.read_bytes() for path in (service.home.journal / "main").iterdir())
    assert b"telltale" not in lying + journal


def test_a_server_that_cannot_train_says_what_to_install(tmp_path: Path) -> None:
    """Without the extra making a job is refused, with the command that installs it."""
    config = configured(tmp_path / "bases").replace("[fine_tuning]", f'[fine_tuning]\npython = "{tmp_path}/none"')
    with Service(tmp_path / "home", config) as service:
        file_id = send_file(service, examples())
        reply = service.post(JOBS, {"model": "tiny", "training_file": file_id})
        assert (reply.status, reply.json()["error"]["code"]) == (503, "training_unavailable")
        assert "freehold[train]" in json.dumps(reply.json())
