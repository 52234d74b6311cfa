"""What a gateway was doing when it was killed: the others end it or do it again, each once."""

import asyncio
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from freehold.store.answer_claims import answer_claims
from freehold.store.database import Database
from tests.cluster.gateways import gateways
from tests.postgres import PostgreSQL
from tests.service import Reply, Service, eventually

pytestmark = pytest.mark.long

SLOW = {"name": "slow", "engine": "echo", "model": "echo", "options": {"delay_s": 0.1}}


def _knows(service: Service, key: str) -> bool:
    return service.get("/v1/models/slow", key=key).status == 200


def _failed(service: Service, path: str, key: str) -> bool:
    return bool(service.get(path, key=key).json()["status"] == "failed")


@pytest.fixture
def url(postgres_server: PostgreSQL) -> str:
    """The database."""
    return postgres_server.new_home()


@pytest.fixture
def three(url: str, tmp_path: Path) -> Iterator[list[Service]]:
    """Three gateways that know a slow deployment."""
    with gateways(tmp_path, url, "abc") as found:
        assert found[0].post("/admin/deployments", SLOW).status == 201
        for each in found:
            eventually(partial(_knows, each, found[0].key), "the deployment")
        yield found


def _interrupted(services: list[Service]) -> list[dict[str, Any]]:
    segments = [path for each in services for path in sorted(each.home.root.glob("journal/*/*.jsonl"))]
    lines = [json.loads(line) for path in segments for line in path.read_bytes().split(b"\n")[:-1]]
    return [line["body"] for line in lines if line["body"].get("event") == "response.interrupted"]


def _claimed(url: str) -> bool:
    async def found() -> bool:
        database = await Database.open(Path("none"), url=url)
        try:
            async with database.read() as connection:
                return (await connection.execute(select(answer_claims.c.claim))).first() is not None
        finally:
            await database.close()

    return asyncio.run(found())


def test_what_a_killed_gateway_was_doing(three: list[Service], url: str) -> None:
    """Its responses fail within a minute, each once and recorded once; its keys may be used again."""
    first, second, third = three
    order = {"model": "slow", "input": "word " * 4000, "background": True}
    with first.open("POST", "/v1/responses", {**order, "stream": True}, key=first.key) as stream:
        ids = [stream.read(200).decode().split('"id":"')[1].split('"')[0]]
        ids += [first.post("/v1/responses", order).json()["id"] for _ in range(5)]
        body = {"model": "slow", "messages": [{"role": "user", "content": "word " * 4000}]}
        headers = {"Idempotency-Key": "key-1", "content-type": "application/json"}

        def ask(service: Service, words: int) -> Reply:
            asked = {**body, "messages": [{"role": "user", "content": "word " * words}]}
            return service.request("POST", "/v1/chat/completions", asked, key=first.key, headers=headers)

        with ThreadPoolExecutor(1) as pool:
            lost = pool.submit(ask, first, 4000)
            eventually(partial(_claimed, url), "the key is in use")
            assert ask(second, 4000).status == 409
            first.process.send_signal(signal.SIGKILL)
            assert lost.exception() is not None
    for response_id in ids:
        path = f"/v1/responses/{response_id}"
        eventually(partial(_failed, third, path, first.key), "it has failed", 60)
    assert third.request("POST", f"/v1/responses/{ids[0]}/cancel", key=first.key).json()["status"] == "failed"
    with second.open("GET", f"/v1/responses/{ids[0]}?stream=true", key=first.key) as theirs:
        assert "response.failed" in theirs.read().decode()
    recorded = _interrupted([second, third])
    assert sorted(each["resource_id"] for each in recorded) == sorted(ids)
    assert {each["details"]["gateway"] for each in recorded} == {"a"}
    eventually(lambda: ask(second, 4).status == 200, "the key is free", 60)
