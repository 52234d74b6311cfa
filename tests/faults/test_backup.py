"""A backup of a server under load, restored elsewhere: it serves on, and all its books agree."""

import asyncio
import json
import random
from pathlib import Path

import pytest

from tests.faults.books import check_receipts, check_reconciled, check_verified, receipts, records
from tests.faults.load import Load, Received
from tests.forked import freehold
from tests.service import Service

CONFIG = """
[server]
starter = false

[journal]
segment_bytes = 65536
checkpoint_records = 100

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
options = { delay_s = 0.002 }
price = { input = "1.5", output = "6" }
"""
CHAT = "/v1/chat/completions"
BODY = {"model": "stored", "messages": [{"role": "user", "content": "one two"}]}
STORED = {"name": "stored", "engine": "echo", "model": "echo"}
SAID = [{"role": "user", "content": f"sentence {number}"} for number in range(20)]
BACKUPS = 2


async def _make_backups(service: Service, folder: Path, received: list[Received]) -> None:
    """Make backups, one after the other, while requests and administrative changes go on."""
    stop, changed = asyncio.Event(), 0
    load = Received()
    running = asyncio.create_task(Load(service.url, service.key, random.randrange(2**32), 8).run(load, stop))

    async def change() -> None:
        nonlocal changed
        while not stop.is_set():
            changed += 1
            key = await asyncio.to_thread(service.post, "/admin/keys", {"name": f"key {changed}"})
            assert key.status == 201
            if changed % 2:
                path = f"/admin/keys/{key.json()['id']}"
                assert (await asyncio.to_thread(service.request, "DELETE", path, key=service.key)).status == 200
            await asyncio.sleep(0.1)

    changing = asyncio.create_task(change())
    for number in range(BACKUPS):
        received.append(Received(whole=list(load.whole)))
        argv = ("backup", str(folder / f"{number}.backup"), "--key-file", str(folder / "key"))
        done = await asyncio.to_thread(freehold, service.home.root, *argv)
        assert done.returncode == 0, done.stderr
    stop.set()
    await asyncio.gather(running, changing)


def _check_fits(home: Path) -> None:
    """What the database says of keys is exactly what the journal says was done to them."""
    done = freehold(home, "keys", "list", "--json")
    assert done.returncode == 0, done.stderr
    keys = [key for key in json.loads(done.stdout)["data"] if key["name"] != "admin"]
    changes = [record["body"] for record in records(home) if record["kind"] == "admin"]
    told = [body for body in changes if body.get("path", "").startswith("/admin/keys")]
    assert len(keys) == sum(body["method"] == "POST" for body in told) > 0
    revoked = {body["path"].rpartition("/")[2] for body in told if body["method"] == "DELETE"}
    assert {key["id"] for key in keys if key["revoked_at"]} == revoked


@pytest.mark.slow
def test_a_backup_of_a_loaded_server_serves_elsewhere(tmp_path: Path) -> None:
    """Made under load and changes of keys, a backup restores to a home with the same keys, conversations and books."""
    (tmp_path / "key").write_bytes(random.randbytes(32))
    received: list[Received] = []
    with Service(tmp_path / "home", CONFIG) as service:
        assert service.post("/admin/deployments", STORED).status == 201
        limit = {"scope": "project", "id": "*", "budget_per_month": "1000"}
        assert service.request("PUT", "/admin/limits", limit, key=service.key).status == 200
        user = service.post("/admin/keys", {"name": "user"}).json()["key"]
        talk = f"/v1/conversations/{service.post('/v1/conversations', {'items': SAID}, key=user).json()['id']}/items"
        said = service.get(talk, key=user).json()
        asyncio.run(_make_backups(service, tmp_path, received))
        limits = service.get("/admin/limits", key=service.key).json()["data"]
    made = [record["body"] for record in records(tmp_path / "home") if record["kind"] == "admin"]
    assert sum(body["path"] == "/admin/backup" for body in made) == BACKUPS, "one record each"
    for number, before in enumerate(received):
        home = tmp_path / f"restored {number}"
        argv = ("restore", str(tmp_path / f"{number}.backup"), "--key-file", str(tmp_path / "key"))
        done = freehold(home, *argv)
        assert done.returncode == 0, done.stderr
        check_receipts(home, before.whole)
        check_verified(home)
        _check_fits(home)
    assert len(list((home / "journal" / "main").iterdir())) > 1, "over several segments"
    with Service(home, CONFIG) as again:
        assert again.key == service.home.admin_key.read_text().strip()
        assert again.post(CHAT, BODY, key=user).status == 200
        assert again.get(talk, key=user).json() == said
        restored = again.get("/admin/limits", key=again.key).json()["data"]
        assert [(x["scope"], x["id"]) for x in restored] == [(x["scope"], x["id"]) for x in limits]
        check_reconciled(home)
    check_verified(home)
    assert receipts(home)[-1]["outcome"] == "finished"
