"""The lineage of a fine-tuned model and of its answers: whole, verified, and broken where something was changed."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Program
from tests.evaluating import asking, check, evaluation, items
from tests.evaluating import ended as run_ended
from tests.service import Service, eventually
from tests.tuning import JOBS, PROGRAM, configured, ended, examples, send_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that fine-tunes."""
    folder = tmp_path_factory.mktemp("home")
    with Service(folder, configured(folder / "models-to-be"), program=PROGRAM) as service:
        yield service


@pytest.fixture(scope="module")
def job(service: Service) -> Any:
    """A job that has made a model, from a training and a validation file."""
    files = {
        "training_file": send_file(service, examples(said="learn")),
        "validation_file": send_file(service, examples(said="check")),
    }
    return ended(service, service.post(JOBS, {"model": "tiny", **files}).json()["id"])


def traced(service: Service, name: str) -> Any:
    """What `freehold lineage --verify` tells."""
    done = Program(service.home.root).run("lineage", name, "--verify", "--json")
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    assert (done.returncode == 0) == told["verified"]["ok"]
    return told


def parents_of(node: Any) -> dict[tuple[str, str], Any]:
    """What an artifact was made from, by kind and name."""
    return {(parent["kind"], parent["name"]): parent for parent in node["parents"]}


def test_the_tree_of_a_model_is_whole_and_verified(service: Service, job: Any) -> None:
    """It has base, data sets with their files, recipe, code and the last checkpoint, which was made of the same."""
    told = traced(service, job["fine_tuned_model"])
    assert (told["verified"]["ok"], told["verified"]["faults"]) == (True, [])
    direct, own = parents_of(told["tree"]), job["id"]
    made_of = {("model", "tiny-base"), ("dataset", f"{own}/training"), ("dataset", f"{own}/validation")}
    made_of |= {("recipe", f"{own}/recipe")} | {key for key in direct if key[0] == "code"}
    assert set(direct) == made_of | {("checkpoint", f"{own}/step-20")}
    assert {kind for kind, _ in made_of} == {"model", "dataset", "recipe", "code"}
    assert set(parents_of(direct["checkpoint", f"{own}/step-20"])) == made_of
    for part in ("training", "validation"):
        assert set(parents_of(direct["dataset", f"{own}/{part}"])) == {("file", job[f"{part}_file"])}
    assert told["verified"]["read"] >= 4, "base, model and two files were read again"
    shown = Program(service.home.root).fine("lineage", job["fine_tuned_model"])
    for what in ("model tiny-base", job["training_file"], f"{own}/recipe", "step-20"):
        assert what in " ".join(shown.split())


def test_a_tampered_training_file_is_named(service: Service, job: Any) -> None:
    """A stored file that was changed behind the service's back ends with 1 and its id; restored, all is well."""
    with sqlite3.connect(service.home.database, timeout=30) as database:
        query = "SELECT file_id, number, data FROM kept_file_pieces WHERE file_id = ?"
        kept = database.execute(query, (job["training_file"],)).fetchall()
        database.execute("UPDATE kept_file_pieces SET data = zeroblob(64) WHERE file_id = ?", (job["training_file"],))
    told = traced(service, job["fine_tuned_model"])
    assert [fault["name"] for fault in told["verified"]["faults"]] == [job["training_file"]]
    with sqlite3.connect(service.home.database, timeout=30) as database:
        for file_id, number, data in kept:
            change = "UPDATE kept_file_pieces SET data = ? WHERE file_id = ? AND number = ?"
            database.execute(change, (data, file_id, number))
    assert traced(service, job["fine_tuned_model"])["verified"]["ok"]


def test_tampered_weights_are_named(service: Service, job: Any) -> None:
    """A changed byte of the fine-tuned weights is found, and the model named."""
    name = job["fine_tuned_model"]
    models = service.get("/admin/models", key=service.key).json()["data"]
    (digest,) = [entry["sha256"] for entry in models if entry["name"] == name]
    blob = service.home.models / "blobs" / f"sha256-{digest}"
    whole, mode = blob.read_bytes(), blob.stat().st_mode
    blob.chmod(0o600)
    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    faults = traced(service, name)["verified"]["faults"]
    blob.write_bytes(whole)
    blob.chmod(mode)
    assert [(fault["name"], fault["what"][:22]) for fault in faults] == [(name, "its bytes have changed")]


REAL = """
[server]
starter = false

[[deployment]]
name = "chat"
model = "smollm2-135m-instruct"
engine = "llamacpp"
context_length = 512
"""


def test_an_answer_and_an_evaluation_lead_to_the_training_data(starter_home: Path) -> None:
    """A fine-tuned model answers, and its answer is traced to the training file; its evaluation hangs on the model."""
    with Service(starter_home, REAL, program=PROGRAM) as service:
        file_id = send_file(service, examples())
        job = ended(service, service.post(JOBS, {"model": "chat", "training_file": file_id}).json()["id"])
        name = job["fine_tuned_model"]
        body = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        eventually(
            lambda: service.post("/v1/chat/completions", body).status == 200, f"answers; {service.log()[-2000:]}"
        )
        reply = service.post("/v1/chat/completions", body)
        made = service.post("/v1/evals", evaluation(check(operation="ilike"))).json()
        asked = asking(items([("Say yes.", "e")]), name, sampling_params={"max_completion_tokens": 4})
        run = service.post(f"/v1/evals/{made['id']}/runs", asked).json()
        assert run_ended(service, run, service.key)["status"] == "completed"
        path = f"/v1/receipts/{reply.headers['x-request-id']}"
        eventually(lambda: service.get(path, key=service.key).status == 200, "the receipt is there")
        told = traced(service, reply.headers["x-request-id"])
        assert (told["tree"]["kind"], told["tree"]["name"], told["verified"]["ok"]) == ("model", name, True)
        assert told["answer"]["weights_sha256"] == told["tree"]["digest"]
        (data,) = [parent for kind, parent in parents_of(told["tree"]).items() if kind[0] == "dataset"]
        assert [parent["name"] for parent in data["parents"]] == [file_id]
        assert ("evaluation", run["id"]) in [(each["kind"], each["name"]) for each in told["tree"]["derived"]]
        assert service.request("DELETE", f"/v1/models/{name}", key=service.key).status == 200
