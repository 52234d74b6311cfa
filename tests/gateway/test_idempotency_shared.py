"""One `Idempotency-Key` at several gateways: whichever of them a request comes to, it is done once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from sqlalchemy import func, select

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


def test_a_gateway_that_starts_again_has_no_key_in_use(url: str) -> None:
    """What a killed gateway was doing is free as soon as it is up again, at every gateway."""

    async def scenario(databases: Sequence[Database], answers: Sequence[KeptAnswers]) -> None:
        await _slot(answers[0])
        async with Presence(databases[0], "home", "1", ""):
            await _free(await _slot(answers[1]))

    assert _run(url, scenario) == 0
