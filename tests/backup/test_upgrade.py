"""A home of the previous release is opened by this one, and everything is there."""

import json
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from freehold.store.migrate import HEAD
from tests.backup.previous_home import CONFIG, used
from tests.forked import freehold
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

PREVIOUS = Path(__file__).with_name("home-0017.tar.xz")
"""Made by `previous_home` with the code of the release before this one."""
SCHEMA = "0017"


def unpacked(target: Path) -> dict[str, Any]:
    """The previous release's home; what must be found in it."""
    with tarfile.open(PREVIOUS) as archive:
        archive.extractall(target, filter="data")
    facts: dict[str, Any] = json.loads((target / "facts.json").read_text(encoding="utf-8"))
    return facts


def schema_of(home: Path) -> str:
    """The schema that a home's database has."""
    with closing(sqlite3.connect(home / "freehold.db")) as connection:
        (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(found)


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, Any]]]:
    """This release's server on the previous release's home, and what was there before."""
    home = tmp_path_factory.mktemp("upgrade") / "home"
    facts = unpacked(home)
    assert schema_of(home) == SCHEMA
    with Service(home, CONFIG) as service:
        yield service, facts


def test_the_database_is_brought_to_this_schema(upgraded: tuple[Service, dict[str, Any]]) -> None:
    """The schema of the home is this release's, newer than the previous one's."""
    service, _ = upgraded
    assert schema_of(service.home.root) == HEAD
    assert HEAD > SCHEMA


def test_keys_are_what_they_were(upgraded: tuple[Service, dict[str, Any]]) -> None:
    """Valid keys open what they opened, the revoked one opens nothing, and the owner's key is the same."""
    service, facts = upgraded
    chat = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    assert service.key == facts["admin_key"]
    assert [service.post("/v1/chat/completions", chat, key=facts[name]).status for name in ("key", "valid")] == [
        200,
        200,
    ]
    assert service.post("/v1/chat/completions", chat, key=facts["revoked"]).status == 401
    assert service.get("/admin/deployments", key=facts["valid"]).status == 403


def test_deployments_and_limits_are_there(upgraded: tuple[Service, dict[str, Any]]) -> None:
    """The stored deployment answers under its alias, and the project's budget is the same."""
    service, facts = upgraded
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    assert service.post("/v1/chat/completions", chat, key=facts["valid"]).status == 200
    limits = service.get("/admin/limits", key=service.key).json()["data"]
    (mine,) = [each for each in limits if each["id"] == facts["project"]]
    assert (mine["requests_per_minute"], mine["budget_per_month"]) == (500, "10")


def test_what_was_kept_can_be_read(upgraded: tuple[Service, dict[str, Any]]) -> None:
    """The conversation, the response and the stored completion are read by whom they belong to, and by nobody else."""
    service, facts = upgraded
    items = service.get(f"/v1/conversations/{facts['conversation']}/items?order=asc", key=facts["key"]).json()["data"]
    texts = [part["text"] for item in items for part in item["content"]]
    assert texts == [facts["said"], "and an answer", "and an answer"]
    response = service.get(f"/v1/responses/{facts['response']}", key=facts["key"]).json()
    assert response["status"] == "completed"
    messages = service.get(f"/v1/chat/completions/{facts['completion']}/messages", key=facts["key"]).json()["data"]
    assert [message["content"] for message in messages] == [facts["said"]]
    assert service.get(f"/v1/conversations/{facts['conversation']}", key=facts["valid"]).status == 404


def test_usage_goes_on_from_where_it_was(upgraded: tuple[Service, dict[str, Any]]) -> None:
    """The project's requests and tokens of before are counted once, and a new one is added to them."""
    service, facts = upgraded
    before = used(service, facts["project"], facts["since"])
    assert all(before[name] >= count for name, count in facts["used"].items())
    chat = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    assert service.post("/v1/chat/completions", chat, key=facts["key"]).status == 200
    eventually(
        lambda: used(service, facts["project"], facts["since"])["num_model_requests"] > before["num_model_requests"],
        "the new request is counted",
    )


def test_the_journal_is_one_from_its_first_record(upgraded: tuple[Service, dict[str, Any]]) -> None:
    """The journal of both releases verifies as one chain, and usage can be made anew from all of it."""
    service, facts = upgraded
    done = freehold(service.home.root, "audit", "verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (service.home.journal / "main" / "00000001.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    receipts = [record for record in records if record["kind"] == "receipt"]
    mine = [each for each in receipts if each["body"].get("project_id") == facts["project"]]
    assert len(mine) >= facts["used"]["num_model_requests"]
