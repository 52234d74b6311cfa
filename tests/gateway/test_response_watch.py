"""Responses whose gateway is gone: another one lets them fail, once, and records it; those that are made go on."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from freehold.errors import Conflict
from freehold.gateway.response_draft import INTERRUPTED, Draft
from freehold.gateway.response_store import ResponseStore
from freehold.gateway.response_watch import ResponseWatch
from freehold.journal.records import Kind
from freehold.journal.waiting import Position
from freehold.store.database import Database
from freehold.store.kept_items import RESPONSE_TABLES
from freehold.types.content import RESPONSES
from freehold.types.identity import DATA_PLANE, Principal
from freehold.types.responses import ResponseRequest
from tests.gateway.kept import items_of
from tests.gateway.shared_database import gateways_of, lose
from tests.postgres import PostgreSQL

APP = Principal("org", "proj_a", "app", actions=DATA_PLANE)

Scenario = Callable[[Sequence[Database], "Records", Sequence[ResponseStore]], Awaitable[None]]


class Records:
    """A journal that is a list."""

    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Any]] = []

    def check(self) -> None:
        """See `Recorder.check`."""

    def submit(self, kind: Kind, body: Mapping[str, Any], *, durable: bool) -> "asyncio.Future[Position]":
        """See `Recorder.submit`."""
        assert (kind, durable) == (Kind.ADMIN, True)
        self.bodies.append(body)
        done = asyncio.get_running_loop().create_future()
        done.set_result(Position(len(self.bodies), 0, 0))
        return done


def _run(server: PostgreSQL, scenario: Scenario, clock: Callable[[], float] = time.time) -> Records:
    """Run a scenario with two gateways; what was recorded."""
    records, url = Records(), server.new_home()

    async def main() -> None:
        async with gateways_of(url, "ab") as databases:
            stores = [ResponseStore(items_of(each, clock, RESPONSES, RESPONSE_TABLES)) for each in databases]
            await scenario(databases, records, stores)

    asyncio.run(main())
    return records


def _draft(response_id: str) -> Draft:
    asked = {"model": "m", "input": "x", "background": True, "stream": True}
    return Draft(ResponseRequest.model_validate(asked), response_id, "m")


async def _add(store: ResponseStore, response_id: str) -> Draft:
    draft = _draft(response_id)
    holder = await store.add(APP, draft, [], background=True)
    event = {"type": "response.created", "response": draft.resource(), "sequence_number": 0}
    await store.put_events(holder, [event])
    return draft


async def _kept(store: ResponseStore, response_id: str) -> dict[str, Any]:
    return await store.resource(await store.get(APP, response_id))


def test_a_response_of_a_dead_gateway_has_failed_once(postgres_server: PostgreSQL) -> None:
    """Of two that look at once one lets it fail, with a reason for its caller and one record of its own."""

    async def scenario(databases: Sequence[Database], records: Records, stores: Sequence[ResponseStore]) -> None:
        await _add(stores[0], "resp_1")
        watches = [ResponseWatch(databases[1], records, frozenset) for _ in range(4)]
        assert sum([await each.once() for each in watches]) == 0, "its gateway lives"
        assert (await _kept(stores[1], "resp_1"))["status"] == "queued"
        await lose(databases[0])
        assert sum(await asyncio.gather(*(each.once() for each in watches))) == 1
        found = await _kept(stores[1], "resp_1")
        assert (found["status"], found["error"]["message"]) == ("failed", INTERRUPTED)
        events = [event async for event in stores[1].events(await stores[1].get(APP, "resp_1"), -1, _never)]
        assert [event["type"] for event in events] == ["response.created", "response.failed"]

    (body,) = _run(postgres_server, scenario).bodies
    assert (body["event"], body["resource_id"], body["details"]) == (
        "response.interrupted",
        "resp_1",
        {"gateway": "a"},
    )


async def _never() -> Any:
    raise AssertionError("it has ended")


def test_an_outage_of_the_database_is_nobodys_death(postgres_server: PostgreSQL) -> None:
    """A gateway that was not heard itself until just now lets no response of others have failed."""

    async def scenario(databases: Sequence[Database], records: Records, stores: Sequence[ResponseStore]) -> None:
        await _add(stores[0], "resp_1")
        await lose(databases[0])
        watch = ResponseWatch(databases[1], records, frozenset)
        databases[1].judges_at = time.monotonic() + 3600
        assert await watch.once() == 0
        databases[1].judges_at = time.monotonic()
        assert await watch.once() == 1

    assert len(_run(postgres_server, scenario).bodies) == 1


def test_what_has_failed_is_not_finished_by_who_was_only_cut_off(postgres_server: PostgreSQL) -> None:
    """A gateway that comes back learns that its response has ended, and changes nothing of what callers were told."""

    async def scenario(databases: Sequence[Database], records: Records, stores: Sequence[ResponseStore]) -> None:
        draft = await _add(stores[0], "resp_1")
        holder = await stores[0].get(APP, "resp_1")
        await lose(databases[0])
        assert await ResponseWatch(databases[1], records, frozenset).once() == 1
        assert await stores[0].to_stop(["resp_1"]) == {"resp_1": False}
        draft.complete()
        event = {"type": "response.completed", "response": draft.resource(), "sequence_number": 1}
        await stores[0].put_events(holder, [event])
        assert not await stores[0].finish(holder, draft, event)
        assert (await _kept(stores[1], "resp_1"))["status"] == "failed"

    assert len(_run(postgres_server, scenario).bodies) == 1


def test_what_got_lost_at_a_gateway_that_lives_fails_too(postgres_server: PostgreSQL) -> None:
    """One whose end could not be written is not open for ever; what is being made, or has just begun, is left alone."""
    long_ago = time.time() - 3600
    times = iter([long_ago, long_ago, time.time()])

    async def scenario(databases: Sequence[Database], records: Records, stores: Sequence[ResponseStore]) -> None:
        for name in ("resp_lost", "resp_live", "resp_new"):
            await _add(stores[0], name)
        assert await ResponseWatch(databases[0], records, lambda: {"resp_live"}).once() == 1

    (body,) = _run(postgres_server, scenario, lambda: next(times, time.time())).bodies
    assert body["resource_id"] == "resp_lost"


def test_another_gateway_is_asked_to_stop(postgres_server: PostgreSQL) -> None:
    """Who stops another gateway's response waits until it has ended; if it does not, that is told."""

    async def scenario(_: Sequence[Database], __: Records, stores: Sequence[ResponseStore]) -> None:
        draft = await _add(stores[0], "resp_1")
        holder = await stores[0].get(APP, "resp_1")
        again = partial(stores[1].get, APP, "resp_1")
        assert await stores[0].to_stop(["resp_1"]) == {}
        with pytest.raises(Conflict, match="The gateway 'a' is making this response"):
            await stores[1].stopped(await again(), again, patience_s=0)
        assert await stores[0].to_stop(["resp_1"]) == {"resp_1": True}
        draft.cancel()
        assert await stores[0].finish(holder, draft, None)
        assert (await stores[1].resource(await stores[1].stopped(await again(), again)))["status"] == "cancelled"

    assert _run(postgres_server, scenario).bodies == []
