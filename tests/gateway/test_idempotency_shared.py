"""One `Idempotency-Key` at several gateways: whichever of them a request comes to, it is done once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from sqlalchemy import func, select, text

from freehold.errors import Conflict, KeyReused
from freehold.gateway.idempotency import KeptAnswer, KeptAnswers, Slot
from freehold.gateway.presence import Presence
from freehold.store.answer_claims import answer_claims
from freehold.store.database import Database
from freehold.types.content import Tenant
from tests.gateway.kept import answers_of
from tests.gateway.shared_database import gateways_of, lose, show
from tests.postgres import PostgreSQL

TENANT = Tenant("org", "proj_a", "user-a")
ANSWER = KeptAnswer("req_1", 200, (("content-type", "application/json"),), b'{"text":"first"}')
OTHER = KeptAnswer("req_2", 200, (("content-type", "application/json"),), b'{"text":"second"}')

SLOW_COMMIT = (
    """
    CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN LOOP
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(7);
            RETURN NULL;
        EXCEPTION WHEN query_canceled THEN NULL;
        END;
    END LOOP; END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON answer_claims DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait_for_lock()
    """,
)
"""Has a claim's commit wait for a lock, whoever would call it off: as while it is written to a disk."""
WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"

Scenario = Callable[[Sequence[Database], Sequence[KeptAnswers]], Awaitable[None]]


@pytest.fixture
def url(postgres_server: PostgreSQL) -> str:
    """A new database with a home's tables."""
    return postgres_server.new_home()


def _run(url: str, scenario: Scenario) -> int:
    """Run a scenario with three gateways; how many keys are claimed after it."""

    async def main() -> int:
        async with gateways_of(url, "abc") as databases:
            await scenario(databases, [answers_of(each, lambda: 1_800_000_000.0) for each in databases])
            async with databases[0].read() as connection:
                claims = select(func.count()).select_from(answer_claims)
                return int((await connection.execute(claims)).scalar_one())

    return asyncio.run(main())


async def _slot(answers: KeptAnswers, body: bytes = b"body") -> Slot:
    slot = await answers.begin(TENANT, "key-1", body)
    assert isinstance(slot, Slot)
    return slot


async def _free(slot: Slot) -> None:
    freed = slot.release()
    assert freed is not None
    await freed


def test_a_request_in_flight_at_one_gateway_is_begun_at_no_other(url: str) -> None:
    """While one gateway answers, another is a 409, or a 422 for another request; then it sends the same bytes."""

    async def scenario(_: Sequence[Database], answers: Sequence[KeptAnswers]) -> None:
        slot = await _slot(answers[0])
        with pytest.raises(Conflict) as caught:
            await answers[1].begin(TENANT, "key-1", b"body")
        assert (caught.value.code, caught.value.retry_after_s) == ("idempotency_key_in_use", 1.0)
        with pytest.raises(KeyReused):
            await answers[2].begin(TENANT, "key-1", b"other")
        await slot.keep(ANSWER)
        assert await answers[1].begin(TENANT, "key-1", b"body") == ANSWER
        assert await answers[0].begin(TENANT, "key-1", b"body") == ANSWER

    assert _run(url, scenario) == 0


def test_of_many_at_once_one_is_done(url: str) -> None:
    """However many come to three gateways at the same moment, one gateway does the work."""

    async def scenario(_: Sequence[Database], answers: Sequence[KeptAnswers]) -> None:
        calls = [answers[number % 3].begin(TENANT, "key-1", b"body") for number in range(24)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        (slot,) = [each for each in found if isinstance(each, Slot)]
        assert sum(isinstance(each, Conflict) for each in found) == 23
        await slot.keep(ANSWER)
        again = await asyncio.gather(*(each.begin(TENANT, "key-1", b"body") for each in answers))
        assert again == [ANSWER] * 3

    assert _run(url, scenario) == 0


def test_what_ended_without_an_answer_any_gateway_may_do_again(url: str) -> None:
    """A release frees the key everywhere, also for another request."""

    async def scenario(_: Sequence[Database], answers: Sequence[KeptAnswers]) -> None:
        await _free(await _slot(answers[0]))
        second = await _slot(answers[1], b"other")
        with pytest.raises(Conflict):
            await answers[0].begin(TENANT, "key-1", b"other")
        await _free(second)
        await _free(await _slot(answers[2]))

    assert _run(url, scenario) == 0


def test_what_a_dead_gateway_began_another_does(url: str) -> None:
    """A gateway that is gone holds no key; if it was only cut off, its late answer does not take the other's place."""

    async def scenario(databases: Sequence[Database], answers: Sequence[KeptAnswers]) -> None:
        lost = await _slot(answers[0])
        with pytest.raises(Conflict):
            await answers[1].begin(TENANT, "key-1", b"body")
        await lose(databases[0])
        second = await _slot(answers[1])
        await show(databases[0])
        await lost.keep(ANSWER)
        with pytest.raises(Conflict):
            await answers[0].begin(TENANT, "key-1", b"body")
        await second.keep(OTHER)
        assert await answers[2].begin(TENANT, "key-1", b"body") == OTHER

    assert _run(url, scenario) == 0


def test_who_goes_away_while_a_key_is_claimed_leaves_it_free(url: str) -> None:
    """A caller hangs up while the claim is committed, which cannot be called off: the key is given up after it."""

    async def scenario(databases: Sequence[Database], answers: Sequence[KeptAnswers]) -> None:
        async with databases[1].write() as connection:
            for statement in SLOW_COMMIT:
                await connection.execute(text(statement))
        async with databases[1].read() as holding, databases[2].read() as looking:
            for each in (holding, looking):
                await each.execution_options(isolation_level="AUTOCOMMIT")
            await holding.execute(text("SELECT pg_advisory_lock(7)"))
            asking = asyncio.create_task(answers[0].begin(TENANT, "key-1", b"body"))
            async with asyncio.timeout(60):
                while not (await looking.execute(text(WAITS))).scalar_one():  # noqa: ASYNC110  # in the database
                    await asyncio.sleep(0.01)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
                await asyncio.wait(answers[0]._freeing, timeout=2)  # it must not be done with before the commit is
                await holding.execute(text("SELECT pg_advisory_unlock(7)"))
                async with databases[1].write() as connection:
                    await connection.execute(text("DROP TRIGGER slow ON answer_claims"))
                await asyncio.gather(*answers[0]._freeing)
        await _free(await _slot(answers[1]))

    assert _run(url, scenario) == 0


def test_an_outage_of_the_database_is_nobodys_death(url: str) -> None:
    """Who was not heard itself for a while does not take what others do: they were silent because nobody was heard."""

    async def scenario(databases: Sequence[Database], answers: Sequence[KeptAnswers]) -> None:
        await _slot(answers[0])
        await lose(databases[0])
        async with Presence(databases[1], "home", "1", "") as presence:
            with pytest.raises(Conflict):
                await answers[1].begin(TENANT, "key-1", b"body")
            databases[1].judges_at = time.monotonic()  # half a minute later
            presence._heard()
            await _free(await _slot(answers[1]))
            presence._heard_at -= 16
            presence._heard()
            await _slot(answers[2])
            await lose(databases[2])
            with pytest.raises(Conflict):
                await answers[1].begin(TENANT, "key-1", b"body")

    assert _run(url, scenario) == 1


def test_a_long_transaction_of_another_gateway_holds_nothing_up(url: str) -> None:
    """While another one writes, gateways say that they live, and what is answered is kept."""

    async def scenario(databases: Sequence[Database], answers: Sequence[KeptAnswers]) -> None:
        async with Presence(databases[0], "home", "1", "") as presence, asyncio.timeout(60):
            first = await answers[0].begin(TENANT, "key-0", b"body")
            assert isinstance(first, Slot)
            await first.keep(OTHER)  # the project has a content key now
            async with databases[1].write():
                slot = await _slot(answers[0])
                await slot.keep(ANSWER)
                assert await presence._seen()
            assert await answers[1].begin(TENANT, "key-1", b"body") == ANSWER

    assert _run(url, scenario) == 0


def test_a_gateway_that_starts_again_has_no_key_in_use(url: str) -> None:
    """What a killed gateway was doing is free as soon as it is up again, at every gateway."""

    async def scenario(databases: Sequence[Database], answers: Sequence[KeptAnswers]) -> None:
        await _slot(answers[0])
        async with Presence(databases[0], "home", "1", ""):
            await _free(await _slot(answers[1]))

    assert _run(url, scenario) == 0
