"""From runs of an evaluation to a promotion: refused on what was measured, then accepted, and traced."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.program import Program
from tests.evaluating import asking, check, ended, evaluation, items
from tests.service import Reply, Service

pytestmark = pytest.mark.slow

RIGHT, WRONG = ("Rome", "Rome"), ("Rome", "Paris")
CONDITION = "quiz >= 0.7 and quiz >= base"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a deployment of the present model and one of the candidate, whose evaluation is `quiz`."""
    with Service(tmp_path_factory.mktemp("promotions") / "home", "[server]\nstarter = false\n") as service:
        deploy(service, "candidate", "new")
        deploy(service, "present", "old")
        yield service


def deploy(service: Service, name: str, model: str, **more: Any) -> None:
    """Make a deployment of the engine that repeats."""
    made = service.post("/admin/deployments", {"name": name, "engine": "echo", "model": model, **more})
    assert made.status == 201, made.body


@pytest.fixture(scope="module")
def eval_id(service: Service) -> str:
    """An evaluation of the owner's project."""
    made = service.post("/v1/evals", evaluation(check("right")))
    assert made.status == 201, made.body
    return str(made.json()["id"])


def measure(service: Service, eval_id: str, deployment: str, right: int, wrong: int) -> str:
    """Have a deployment asked, with that many right and wrong answers; the run's id."""
    body = asking(items([RIGHT] * right + [WRONG] * wrong), deployment)
    run = service.post(f"/v1/evals/{eval_id}/runs", body)
    assert run.status == 201, run.body
    done = ended(service, run.json(), service.key)
    assert (done["status"], done["result_counts"]["passed"]) == ("completed", right)
    return str(done["id"])


def promote(service: Service, name: str, *, dry_run: bool = False) -> Reply:
    """Ask for the promotion of the candidate's model."""
    return service.post(f"/admin/deployments/{name}/promote", {"model": "new", "dry_run": dry_run})


def test_real_runs_decide_on_a_promotion(service: Service, eval_id: str) -> None:
    """What the newest runs of both models measured refuses, then allows; a dry run changes nothing, and says so."""
    deploy(service, "chat", "old", promote_if=CONDITION)
    present = measure(service, eval_id, "present", right=3, wrong=1)
    assert "no number of 'quiz'" in promote(service, "chat").json()["error"]["message"]
    worse = measure(service, eval_id, "candidate", right=1, wrong=1)
    refused = promote(service, "chat")
    assert (refused.status, refused.json()["error"]["code"]) == (409, "promotion_refused")
    assert "quiz is 0.5" in refused.json()["error"]["message"]
    better = measure(service, eval_id, "candidate", right=4, wrong=0)
    tried = promote(service, "chat", dry_run=True).json()
    assert (tried["allowed"], tried["dry_run"]) == (True, True)
    assert [(each["value"], each["base"]) for each in tried["comparisons"]] == [(1.0, None), (1.0, 0.75)]
    assert tried["runs"] == sorted([present, better])
    assert service.get("/admin/deployments/chat", key=service.key).json()["settings"]["model"] == "old"
    done = promote(service, "chat")
    assert (done.status, done.json()["settings"]["model"]) == (200, "new")
    assert worse not in done.json()["runs"]


def test_the_evidence_stands_in_the_journal(service: Service, eval_id: str) -> None:
    """The decision is an artifact whose parents are the runs that it rests on, with digests of their own."""
    deploy(service, "traced", "old", promote_if="quiz >= 0.9")
    measure(service, eval_id, "present", right=1, wrong=1)
    run = measure(service, eval_id, "candidate", right=2, wrong=0)
    assert promote(service, "traced").status == 200
    segments = sorted((service.home.journal / "main").glob("*.jsonl"))
    text = b"".join(path.read_bytes() for path in segments)
    program = Program(service.home.root)
    found = program.json("lineage", digest_of(text, "promotion", "traced"), "--verify")
    assert found["tree"]["kind"] == "promotion"
    assert {"decision": "promoted", "from": "old", "to": "new", "1.value": 1}.items() <= found["tree"]["facts"].items()
    assert run in [parent["name"] for parent in found["tree"]["parents"] if parent["kind"] == "evaluation"]
    assert (found["verified"]["ok"], found["verified"]["faults"]) == (True, [])


def test_a_person_promotes_from_the_command_line(service: Service, eval_id: str) -> None:
    """A dry run ends with 1 and both numbers, the promotion with 2; with a better run both end with 0."""
    deploy(service, "shell", "old", promote_if="quiz >= base")
    program = Program(service.home.root)
    measure(service, eval_id, "present", right=3, wrong=1)
    measure(service, eval_id, "candidate", right=1, wrong=3)
    command = ("deployments", "promote", "shell", "--to", "new")
    tried = program.run(*command, "--dry-run")
    assert tried.returncode == 1
    assert "quiz is 0.25, base is 0.75" in " ".join(tried.stdout.split())
    assert "'quiz >= base' does not hold" in program.refused(2, *command)
    measure(service, eval_id, "candidate", right=4, wrong=0)
    assert program.run(*command, "--dry-run").returncode == 0
    assert service.get("/admin/deployments/shell", key=service.key).json()["settings"]["model"] == "old"
    assert "shell changed from old to new" in program.fine(*command)


def digest_of(journal: bytes, kind: str, name: str) -> str:
    """The digest of the newest artifact of that kind and name in a journal."""
    lines = [line for line in journal.splitlines() if f'"kind":"{kind}","name":"{name}"'.encode() in line]
    _, _, rest = lines[-1].partition(b'"resource_id":"')
    return rest[:64].decode()
