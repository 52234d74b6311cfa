"""Where gateways that share a cluster tell each other, in a real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from freehold.cluster.leader import led
from freehold.errors import Unavailable
from freehold.store import postgres
from freehold.store.leading import FORGET_US, LeadStore
from freehold.types.lead import Lead
from tests.postgres import PostgreSQL

pytest_plugins = ["tests.postgres"]

Work = Callable[[LeadStore, LeadStore], Awaitable[None]]


def _between_two(url: str, work: Work) -> None:
    """Do something with the stores of two gateways."""

    async def main() -> None:
        stores = [
            LeadStore(partial(postgres.connect, url, "url"), postgres.failures("url"), "the database", "head:6379")
            for _ in range(2)
        ]
        try:
            await work(*stores)
        finally:
            for each in stores:
                await each.close()

    asyncio.run(main())


async def _take(store: LeadStore, name: str, epoch: int = 0) -> Lead:
    look = await store.look()
    after = led(look.lead, name, epoch, look.now_us, wants=True)
    assert await store.put(look.lead, after)
    return after


def test_who_leads_is_written_only_over_what_was_read(postgres_server: PostgreSQL) -> None:
    """Of two that read the same one writes, the other learns that it did not."""

    async def work(first: LeadStore, second: LeadStore) -> None:
        looks = [await first.look(), await second.look()]
        assert [look.lead for look in looks] == [Lead(), Lead()]
        wants = [led(look.lead, name, 0, look.now_us, wants=True) for look, name in zip(looks, "ab", strict=True)]
        assert await first.put(looks[0].lead, wants[0])
        assert not await second.put(looks[1].lead, wants[1])
        look = await second.look()
        assert (look.lead, look.lead.holder, look.lead.epoch) == (wants[0], "a", 1)
        given_up = led(look.lead, "a", 1, look.now_us, wants=False)
        assert await first.put(look.lead, given_up)
        assert not await first.put(look.lead, given_up), "it was read before"
        assert (await _take(second, "b")).epoch == 2

    _between_two(postgres_server.new_home(), work)


def test_only_who_leads_publishes(postgres_server: PostgreSQL) -> None:
    """What stands there is what the last leader said last; one of an earlier epoch changes nothing."""

    async def work(first: LeadStore, second: LeadStore) -> None:
        heard = asyncio.Event()
        await second.look()
        second.heard = heard.set
        await _take(first, "a")
        assert await first.publish(1, {"chat-1.1": {"x": 1}, "chat-1.2": {"x": 2}}) == 1
        async with asyncio.timeout(60):
            await heard.wait()
        assert await second.offers() == {"chat-1.1": {"x": 1}, "chat-1.2": {"x": 2}}
        assert await first.publish(1, {"chat-1.2": {"x": 3}}) == 2
        assert (await second.look()).number == 2
        assert await second.offers() == {"chat-1.2": {"x": 3}}
        look = await first.look()
        assert await first.put(look.lead, led(look.lead, "a", 1, look.now_us, wants=False))
        assert await first.publish(1, {}) is None, "its lease has ended"
        await _take(second, "b")
        assert await first.publish(1, {}) is None, "it is of an earlier epoch"
        assert await second.offers() == {"chat-1.2": {"x": 3}}
        assert await second.publish(2, {}) == 3
        assert await first.offers() == {}

    _between_two(postgres_server.new_home(), work)


def test_what_gateways_have_to_do_is_told(postgres_server: PostgreSQL) -> None:
    """Each gateway's last word stands there with its time, until it leaves."""

    async def work(first: LeadStore, second: LeadStore) -> None:
        await first.tell("a", 0, {"chat trial": [1]}, urgent=False)
        await second.tell("b", 4, {}, urgent=True)
        await first.tell("a", 5, {"chat trial": [2]}, urgent=False)
        told, now_us = await second.told(), (await second.look()).now_us
        assert {name: (each.known, each.body) for name, each in told.items()} == {
            "a": (5, {"chat trial": [2]}),
            "b": (4, {}),
        }
        assert 0 <= now_us - told["a"].seen_us < 60_000_000
        await first.leave("a")
        assert (await second.told()).keys() == {"b"}

    _between_two(postgres_server.new_home(), work)


def test_a_database_that_is_away_is_told_as_such(postgres: PostgreSQL) -> None:
    """It is unavailable, and when it is back all goes on."""

    async def work(first: LeadStore, _second: LeadStore) -> None:
        await _take(first, "a")
        postgres.stop()
        try:
            await first.look()
        except Unavailable as exc:
            said = exc.message
        postgres.start()
        assert "by which gateways share a cluster, cannot be used" in said
        assert (await first.look()).lead.holder == "a"

    _between_two(postgres.new_home(), work)


def test_a_statement_that_fails_is_told_to_who_asked_and_not_heard_besides(postgres_server: PostgreSQL) -> None:
    """What is refused at once is not tried again at once for ever; a connection that is lost by itself is heard."""

    async def work(first: LeadStore, second: LeadStore) -> None:
        heard: list[str] = []
        await first.look()
        first.heard = lambda: heard.append("first")
        await _ended(second, "ALTER TABLE cluster_wants RENAME TO away")
        with pytest.raises(Unavailable, match="cluster_wants"):
            await first.tell("a", 0, {}, urgent=False)
        await first.look()
        assert heard == []
        which = "pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        await _ended(second, f"SELECT pg_terminate_backend(pid) FROM {which}")  # noqa: S608  # a constant
        async with asyncio.timeout(60):
            while not heard:  # noqa: ASYNC110  # the store tells by a call
                await asyncio.sleep(0.02)

    _between_two(postgres_server.new_home(), work)


def test_a_connection_that_cannot_listen_is_closed(postgres_server: PostgreSQL) -> None:
    """Trying again for hours leaves no connections behind."""
    made: list[Any] = []
    url = postgres_server.new_home()

    async def connect() -> Any:
        connection = await postgres.connect(url, "url")
        await connection.execute("BEGIN")
        with pytest.raises(Exception, match="division by zero"):
            await connection.execute("SELECT 1 / 0")  # whatever is asked in this transaction fails from now on
        made.append(connection)
        return connection

    async def main() -> None:
        store = LeadStore(connect, postgres.failures("url"), "the database", "one")
        for _ in range(3):
            with pytest.raises(Unavailable, match="aborted"):
                await store.look()
        assert [connection.is_closed() for connection in made] == [True] * 3

    asyncio.run(main())


def test_what_nobody_has_touched_for_long_is_deleted(postgres_server: PostgreSQL) -> None:
    """Clusters that are no more, and gateways that never came back, leave nothing; what is in use stays."""

    async def work(first: LeadStore, second: LeadStore) -> None:
        second.cluster = "another"
        for store, name in ((first, "a"), (second, "b")):
            await _take(store, name)
            assert await store.publish(1, {"chat-1.1": {}}) == 1
            await store.tell(name, 1, {}, urgent=False)
        await first.tell("c", 1, {}, urgent=False)
        long_us = FORGET_US + 60_000_000
        await _ended(second, "UPDATE cluster_leads SET expires_us = expires_us - $1 WHERE cluster = 'another'", long_us)
        await _ended(second, "UPDATE cluster_wants SET seen_us = seen_us - $1 WHERE gateway <> 'a'", long_us)
        look = await first.look()
        assert await first.put(look.lead, led(look.lead, "a", 1, look.now_us, wants=True))
        assert (await second.told()).keys() == {"b"}, "only a change of the lead looks"
        look = await first.look()
        assert await first.put(look.lead, led(look.lead, "a", 0, look.now_us, wants=True))
        assert ((await second.told()), (await second.offers()), (await second.look()).lead) == ({}, {}, Lead())
        assert ([*await first.told()], [*await first.offers()]) == (["a"], ["chat-1.1"])

    _between_two(postgres_server.new_home(), work)


async def _ended(store: LeadStore, statement: str, *values: int) -> None:
    """Execute a statement over a connection of its own, which is like a store's."""
    connection = await store._connect()
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()
