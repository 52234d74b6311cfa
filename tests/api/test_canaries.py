"""Canaries on a real server: shares, receipts, roll-back, and nothing lost."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import Reply, Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "filed"
engine = "echo"
model = "old"

[deployment.canary]
model = "new"
share = 0.5
options = { fail_on = "a" }
rollback_if = "errors > base + 0.5"
min_requests = 3
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("canaries") / "home", CONFIG) as service:
        yield service


def chat(service: Service, model: str, user: str) -> Reply:
    """One chat on behalf of somebody."""
    body = {"model": model, "messages": [{"role": "user", "content": "a b"}], "user": user}
    return service.post("/v1/chat/completions", body)


def receipt_of(service: Service, reply: Reply) -> dict[str, Any]:
    """The receipt of a request."""
    path = f"/v1/receipts/{reply.headers['x-request-id']}"
    eventually(lambda: service.get(path, key=service.key).status == 200, "the receipt is there")
    found: dict[str, Any] = service.get(path, key=service.key).json()["receipt"]
    return found


def begin(service: Service, name: str, **canary: Any) -> None:
    """A deployment with a canary whose candidate is ready."""
    made = service.post("/admin/deployments", {"name": name, "engine": "echo", "model": "old"})
    assert made.status == 201, made.body
    begun = service.post(f"/admin/deployments/{name}/canary", {"model": "new", **canary})
    assert begun.status == 200, begun.body
    # The candidate takes requests as soon as it is ready; before that, the deployment's own model does.
    names = (f"probe-{number}" for number in range(10_000))
    eventually(
        lambda: receipt_of(service, chat(service, name, next(names)))["model"] == "new", "the candidate has a request"
    )


def test_a_share_of_the_callers_is_served_by_the_candidate(service: Service) -> None:
    """Of 200 callers about a tenth have the candidate; each keeps its arm, and its receipt tells arm and model."""
    begin(service, "shared", share=0.1)
    arms: Counter[str] = Counter()
    seen: dict[str, str] = {}
    for number in range(200):
        receipt = receipt_of(service, chat(service, "shared", f"user-{number}"))
        arm = receipt["parameters"]["canary"]
        assert (arm, receipt["model"]) in {("candidate", "new"), ("present", "old")}
        assert receipt["deployment"] == "shared"
        assert receipt["replica"].startswith("shared~canary-") == (arm == "candidate")
        seen[f"user-{number}"] = arm
        arms[arm] += 1
    # Beyond these bounds lie 3 in 100,000 of all draws of 200 with the chance 0.1.
    assert 5 <= arms["candidate"] <= 40
    for user in [*(name for name in seen if seen[name] == "candidate")][:3]:
        assert receipt_of(service, chat(service, "shared", user))["model"] == "new"
    told = service.get("/admin/deployments/shared/canary", key=service.key).json()
    assert told["running"]
    assert told["arms"]["candidate"]["errors"] == 0
    finished = service.post("/admin/deployments/shared/canary/finish", {})
    assert (finished.status, finished.json()["settings"]["model"]) == (200, "new")
    assert "canary" not in receipt_of(service, chat(service, "shared", "anybody"))["parameters"]
    again = service.post("/admin/deployments/shared/canary/finish", {})
    assert (again.status, again.json()["error"]["code"]) == (404, "canary_not_found")


def test_a_failing_candidate_is_rolled_back_and_nobody_notices(service: Service) -> None:
    """Every request is answered, by the present model where the candidate failed; then the candidate is gone."""
    made = service.post("/admin/deployments", {"name": "failing", "engine": "echo", "model": "old"})
    assert made.status == 201
    canary = {"model": "new", "share": 0.5, "options": {"fail_on": "a"}, "min_requests": 5}
    begun = service.post("/admin/deployments/failing/canary", {**canary, "rollback_if": "errors > base + 0.05"})
    assert begun.status == 200
    names = (f"user-{number}" for number in range(10_000))
    arms: set[str] = set()

    def over() -> bool:
        reply = chat(service, "failing", next(names))
        receipt = receipt_of(service, reply)
        assert (reply.status, receipt["model"]) == (200, "old")
        arms.add(receipt["parameters"].get("canary", "present"))
        return "canary" not in service.get("/admin/deployments/failing", key=service.key).json()["settings"]

    eventually(over, "the canary is rolled back")
    assert arms == {"present", "candidate_failed"}
    event = next(
        line
        for path in sorted((service.home.journal / "main").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if '"canary_rolled_back"' in line and '"deployment":"failing"' in line
    )
    assert "'errors > base + 0.05': errors is 1, base is 0" in event


def test_a_canary_of_the_configuration_file_is_rolled_back_too(service: Service) -> None:
    """The file cannot be changed, so the server remembers: the candidate gets no requests, nor after a new start."""
    names = (f"user-{number}" for number in range(10_000))
    path = "/admin/deployments/filed/canary"

    def over() -> bool:
        assert chat(service, "filed", next(names)).status == 200
        return not service.get(path, key=service.key).json()["running"]

    eventually(over, "the canary of the file is rolled back")
    refused = service.post(path, {"model": "other", "share": 0.1})
    assert (refused.status, refused.json()["error"]["code"]) == (409, "conflict")


def test_a_canary_that_was_given_up_stays_so(tmp_path: Path) -> None:
    """After a new start the same canary of the file does not run; the digest in the journal's decision says which."""
    names = (f"user-{number}" for number in range(10_000))
    path = "/admin/deployments/filed/canary"
    with Service(tmp_path / "home", CONFIG) as first:

        def over() -> bool:
            assert chat(first, "filed", next(names)).status == 200
            return not first.get(path, key=first.key).json()["running"]

        eventually(over, "the canary is rolled back")
        eventually(lambda: "canary_rolled_back" in first.log(), "the roll-back is recorded")
    with Service(tmp_path / "home", CONFIG) as second:
        assert not second.get(path, key=second.key).json()["running"]
