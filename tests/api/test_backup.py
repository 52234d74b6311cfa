"""`/admin/backup`: what the command asks the service for."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.api.admin.changes import Changes
from tests.service import Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("served") / "home") as running:
        yield running


def records(home: Path) -> list[dict[str, object]]:
    """The records that are there."""
    segment = home / "journal" / "main" / "00000001.jsonl"
    return [json.loads(line) for line in segment.read_bytes().split(b"\n")[:-1]]


def test_changes_are_counted() -> None:
    """A change counts from its beginning, runs until it is recorded, and ends once whatever happens to it."""
    changes = Changes()
    start = changes.begun
    with changes.begin() as first:
        assert (changes.begun - start, changes.running) == (1, 1)
        with pytest.raises(ZeroDivisionError), changes.begin():
            _ = 1 // (changes.running - 2)
        first.end()
        assert (changes.begun - start, changes.running) == (2, 0)
    assert (changes.begun - start, changes.running) == (2, 0)
    assert Changes().begun != Changes().begun


def test_making_a_backup_is_recorded(service: Service) -> None:
    """`POST` leaves one record and has what was before it covered by a checkpoint; `GET` leaves none."""
    service.post("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "hi"}]})
    before = len(records(service.home.root))
    assert service.post("/admin/backup", None).status == 200
    found = records(service.home.root)[before:]
    assert [record["kind"] for record in found] == ["checkpoint", "admin"]
    assert found[1]["body"]["path"] == "/admin/backup"  # type: ignore[index]  # it is an object
    point = service.get("/admin/backup", key=service.key).json()
    assert (point["writer"], point["segment"], point["seq"]) == ("main", 1, found[1]["seq"])
    data = (service.home.journal / "main" / "00000001.jsonl").read_bytes()
    assert data[: point["offset"]].endswith(b"\n")
    assert json.loads(data[: point["offset"]].splitlines()[-1])["seq"] == point["seq"]
    assert len(records(service.home.root)) == before + 2


def test_a_change_is_counted_until_it_is_recorded(service: Service) -> None:
    """Every change moves the count, a read none, and when its answer is there it no longer runs."""
    before = service.get("/admin/backup", key=service.key).json()
    service.post("/admin/keys", {"name": "one"})
    service.post("/admin/keys", {"nonsense": True})
    service.get("/admin/keys", key=service.key)
    after = service.get("/admin/backup", key=service.key).json()
    assert (after["changes"] - before["changes"], after["running"]) == (2, 0)


def test_only_the_owner_may(service: Service) -> None:
    """A user's key neither makes a backup nor learns where the journal stands."""
    user = service.post("/admin/keys", {"name": "user"}).json()["key"]
    for method in ("GET", "POST"):
        assert service.request(method, "/admin/backup", key=user).status == 403
        assert service.request(method, "/admin/backup").status == 401


def test_many_changes_at_once_come_to_rest(service: Service) -> None:
    """However many changes come at once, afterwards as many have begun and none runs."""
    before = service.get("/admin/backup", key=service.key).json()["changes"]
    key = service.key
    threads = [
        threading.Thread(target=service.post, args=("/admin/keys", {"name": f"k{i}"}), kwargs={"key": key})
        for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = service.get("/admin/backup", key=key).json()
    assert (after["changes"] - before, after["running"]) == (20, 0)
