"""What gateways on one database refuse, and how they come and go."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from freehold.store.database import Database
from freehold.store.gateway_rows import GatewayRow, database_time, put_gateway
from tests.cluster.gateways import gateway, gateways
from tests.postgres import PostgreSQL
from tests.service import Service, eventually

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(postgres_server: PostgreSQL) -> str:
    """The database."""
    return postgres_server.new_home()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the homes are."""
    return tmp_path_factory.mktemp("gateways")


@pytest.fixture(scope="module")
def two(folder: Path, url: str) -> Iterator[list[Service]]:
    """Two gateways, of which the second has two workers."""
    with gateway(folder, "a", url) as first, gateway(folder, "b", url, master=folder / "a", workers=2) as second:
        yield [first, second]


def _refused(service: Service) -> str:
    """What a gateway says that does not start."""
    assert service.process.wait(120) != 0
    return service.log()


def test_a_gateway_with_another_master_key_does_not_start(two: list[Service], folder: Path, url: str) -> None:
    """Without the master key of the others, or with another one, it says so, and leaves nothing behind."""
    told = _refused(gateway(folder, "none", url))
    assert "does not have the master key 'local:" in told
    assert not (folder / "none" / "secrets" / "content").exists()
    wrong = folder / "wrong" / "secrets"
    wrong.mkdir(parents=True)
    (wrong / "content").write_bytes(secrets.token_bytes(32))
    assert "does not have the master key 'local:" in _refused(gateway(folder, "wrong", url))
    assert len(two[0].get("/admin/gateways", key=two[0].key).json()["data"]) == 2, "it never was one of them"


def test_a_name_is_one_homes(two: list[Service], folder: Path, url: str) -> None:
    """A second home does not start under a name that is taken."""
    other = folder / "elsewhere"
    told = _refused(gateway(other, "a", url, master=folder / "a"))
    assert "another home's gateway of the name 'a' runs on this database" in told
    assert two[0].get("/health/ready").status == 200


def test_workers_hear_of_other_gateways_too(two: list[Service]) -> None:
    """A key that is revoked at one gateway opens none of the other one's workers any more."""
    first, second = two
    made = first.post("/admin/keys", {"name": "caller", "role": "user"}).json()
    eventually(lambda: second.post("/v1/chat/completions", CHAT, key=made["key"]).status == 200, "the new key")
    assert first.request("DELETE", f"/admin/keys/{made['id']}", key=first.key).status == 200

    def refused() -> bool:
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(lambda _: second.post("/v1/chat/completions", CHAT, key=made["key"]).status, range(8))
            return set(found) == {401}

    eventually(refused, "the revocation in every worker")


def test_a_batch_is_done_once_whoever_takes_it(two: list[Service]) -> None:
    """Batches that are made at one gateway are done by either, each line once."""
    first, second = two
    made = [_batch(service, number) for number, service in enumerate((first, second, first, second))]
    ended = []
    for batch_id in made:

        def done(batch_id: str = batch_id) -> bool:
            return bool(second.get(f"/v1/batches/{batch_id}", key=first.key).json()["status"] == "completed")

        eventually(done, "the batch is completed")
        ended.append(second.get(f"/v1/batches/{batch_id}", key=first.key).json())
    assert [each["request_counts"] for each in ended] == [{"total": 5, "completed": 5, "failed": 0}] * 4
    answer = first.get("/admin/usage?by=key", key=first.key).json()
    assert answer["data"], "what the batches used is counted"


def _batch(service: Service, number: int) -> str:
    lines = [
        {"custom_id": f"{number}-{line}", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
        for line in range(5)
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    boundary = "parts"
    body = (
        f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n{text}\r\n'
        f"--{boundary}--\r\n"
    )
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    file = service.request("POST", "/v1/files", body.encode(), key=service.key, headers=headers).json()
    order = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return str(service.post("/v1/batches", order).json()["id"])


def test_a_gateway_that_runs_is_not_removed_and_one_that_is_gone_is(two: list[Service], url: str) -> None:
    """The list tells them apart; what was removed is recorded, and not there any more."""
    first, _ = two
    asyncio.run(_lost(url))
    states = {row["name"]: row["state"] for row in first.get("/admin/gateways", key=first.key).json()["data"]}
    assert states == {"a": "running", "b": "running", "gone": "lost"}
    assert first.request("DELETE", "/admin/gateways/b", key=first.key).status == 409
    assert first.request("DELETE", "/admin/gateways/nobody", key=first.key).status == 404
    assert first.request("DELETE", "/admin/gateways/gone", key=first.key).status == 200
    assert {row["name"] for row in first.get("/admin/gateways", key=first.key).json()["data"]} == {"a", "b"}


async def _lost(url: str) -> None:
    """Leave what a gateway leaves whose machine is gone."""
    database = await Database.open(Path("none"), url=url)
    async with database.write() as connection:
        then = await database_time(connection) - 1000
        await put_gateway(connection, GatewayRow("gone", "home", "1", "0018", "", then, then))
    await database.close()


def test_requests_go_on_while_the_database_is_away(postgres: PostgreSQL, tmp_path: Path) -> None:
    """Callers who are known are served; a change is refused as unavailable; when it is back, changes work again."""
    with gateways(tmp_path, postgres.new_database(), "a") as (only,):
        made = only.post("/admin/keys", {"name": "caller", "role": "user"}).json()
        postgres.stop()
        assert only.post("/v1/chat/completions", CHAT, key=made["key"]).status == 200
        refused = only.post("/admin/keys", {"name": "another", "role": "user"})
        assert refused.status == 503
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "service_unavailable"
        postgres.start()
        eventually(lambda: only.post("/admin/keys", {"name": "third", "role": "user"}).status == 201, "changes again")
        assert only.post("/v1/chat/completions", CHAT, key=made["key"]).status == 200
