"""`/admin/journal`: how the journal of a running server stands, and its verification."""

from pathlib import Path
from typing import Any

import pytest

from tests.api.test_kept_content import admin
from tests.service import ECHO_CONFIG, Service, eventually

pytestmark = pytest.mark.slow

VERIFICATION = "/admin/journal/verification"


def verified(service: Service) -> dict[str, Any]:
    """Have the journal verified; what comes of it."""
    assert service.post(VERIFICATION, {}).status == 202
    eventually(lambda: admin(service, "GET", VERIFICATION)["state"] != "running", "verified")
    found: dict[str, Any] = admin(service, "GET", VERIFICATION)
    return found


def test_a_running_servers_journal_is_verified(tmp_path: Path) -> None:
    """It is intact until a byte of it is changed; what came of it is told again after a restart."""
    with Service(tmp_path / "home", ECHO_CONFIG) as service:
        assert service.get(VERIFICATION, key=service.key).status == 404
        assert admin(service, "GET", "/admin/journal")["verification"] is None
        body = {"model": "echo", "messages": [{"role": "user", "content": "word"}]}
        for _ in range(3):
            assert service.post("/v1/chat/completions", body).status == 200
        found = verified(service)
        assert (found["state"], found["problem"]) == ("intact", None)
        assert found["receipts"] >= 3
        assert found["finished_at"] >= found["started_at"]
        shown = admin(service, "GET", "/admin/journal")
        assert (shown["state"], shown["segments"], shown["verification"]) == ("ok", 1, found)
        assert shown["records"] >= found["records"]
        assert shown["checkpoint"]["seq"] < shown["records"]
        event = admin(service, "GET", "/admin/audit?event=journal.*")["data"][0]
        assert (event["event"], event["status"]) == ("journal.verification_started", 202)
        (segment,) = service.home.journal.glob("*/*.jsonl")
        assert shown["size_bytes"] <= segment.stat().st_size
    with Service(tmp_path / "home", ECHO_CONFIG) as service:
        assert admin(service, "GET", VERIFICATION) == found
        with segment.open("r+b") as file:  # in place: the server goes on writing behind it
            file.seek(segment.read_bytes().index(b'"status":200'))
            file.write(b'"status":201')
        damaged = verified(service)
        assert damaged["state"] == "damaged"
        assert "edited" in damaged["problem"]
        assert damaged["reports"][0]["damage"]["message"] == damaged["problem"]


def test_who_may_have_it_verified(tmp_path: Path) -> None:
    """Auditors may; whoever may only read the configuration may neither look nor have it done."""
    with Service(tmp_path / "home", ECHO_CONFIG) as service:
        keys = {
            role: admin(service, "POST", "/admin/keys", {"name": role, "role": role, "everywhere": True})["key"]
            for role in ("auditor", "reader")
        }
        assert service.get("/admin/journal", key=keys["auditor"]).status == 200
        assert service.post(VERIFICATION, {}, key=keys["auditor"]).status == 202
        assert service.get("/admin/journal", key=keys["reader"]).status == 403
        assert service.get(VERIFICATION, key=keys["reader"]).status == 403
        assert service.post(VERIFICATION, {}, key=keys["reader"]).status == 403
