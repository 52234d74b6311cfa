import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update

from freehold.errors import Conflict, ContentUnreadable, HomeError, InvalidRequest, KeyReused
from freehold.gateway.idempotency import KeptAnswer, KeptAnswers, Slot
from freehold.store.database import Database
from freehold.store.tables import content_keys, kept_answers
from freehold.types.content import DAY_S, Tenant
from tests.gateway.kept import answers_of, sweep_of

A, B = Tenant("org", "proj_a", "user-a"), Tenant("org", "proj_b", "user-a")
ANSWER = KeptAnswer(
    "req_1", 200, (("content-type", "application/json"), ("x-note", "ä")), b'{"text":"a telltale sentence"}\x00\xff'
)
START_S = 1_800_000_000.0


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now_s


Scenario = Callable[[Database, KeptAnswers, Clock], Awaitable[None]]


def _with_answers(folder: Path, scenario: Scenario) -> None:
    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        clock = Clock()
        try:
            await scenario(database, answers_of(database, clock), clock)
        finally:
            await database.close()

    asyncio.run(main())


async def _slot(answers: KeptAnswers, tenant: Tenant = A, key: str = "key-1", body: bytes = b"body") -> Slot:
    slot = await answers.begin(tenant, key, body)
    assert isinstance(slot, Slot)
    return slot


def test_the_same_request_gets_the_same_bytes(tmp_path: Path) -> None:
    """What was kept comes back whole: status, headers and body, also after a restart."""

    async def scenario(database: Database, answers: KeptAnswers, clock: Clock) -> None:
        await (await _slot(answers)).keep(ANSWER)
        assert await answers.begin(A, "key-1", b"body") == ANSWER
        restarted = answers_of(database, clock)
        assert await restarted.begin(A, "key-1", b"body") == ANSWER

    _with_answers(tmp_path, scenario)


def test_another_request_under_the_key_is_refused(tmp_path: Path) -> None:
    """A key that was used, or is in use, for another request is a 422, and stays so."""

    async def scenario(_: Database, answers: KeptAnswers, clock: Clock) -> None:
        slot = await _slot(answers)
        with pytest.raises(KeyReused):
            await answers.begin(A, "key-1", b"other")
        await slot.keep(ANSWER)
        with pytest.raises(KeyReused) as caught:
            await answers.begin(A, "key-1", b"other")
        assert (caught.value.status, caught.value.code) == (422, "idempotency_key_reused")
        assert await answers.begin(A, "key-1", b"body") == ANSWER
        clock.now_s += DAY_S
        await _slot(answers, body=b"other")

    _with_answers(tmp_path, scenario)


def test_a_request_in_flight_is_not_begun_again(tmp_path: Path) -> None:
    """While the first request runs the second is a 409 that says when to try again."""

    async def scenario(_: Database, answers: KeptAnswers, __: Clock) -> None:
        slot = await _slot(answers)
        with pytest.raises(Conflict) as caught:
            await answers.begin(A, "key-1", b"body")
        assert (caught.value.status, caught.value.code) == (409, "idempotency_key_in_use")
        assert caught.value.retry_after_s == 1.0
        slot.release()

    _with_answers(tmp_path, scenario)


def test_a_release_without_an_answer_frees_the_key(tmp_path: Path) -> None:
    """What ended without an answer runs anew, also with another body; a second release takes nothing from others."""

    async def scenario(_: Database, answers: KeptAnswers, __: Clock) -> None:
        first = await _slot(answers)
        first.release()
        second = await _slot(answers, body=b"other")
        first.release()
        with pytest.raises(Conflict):
            await answers.begin(A, "key-1", b"other")
        await second.keep(ANSWER)
        second.release()
        assert await answers.begin(A, "key-1", b"other") == ANSWER

    _with_answers(tmp_path, scenario)


def test_a_crash_frees_the_key(tmp_path: Path) -> None:
    """A request that a crash cut off before its answer was kept runs anew after the restart."""

    async def scenario(database: Database, answers: KeptAnswers, clock: Clock) -> None:
        await _slot(answers)
        restarted = answers_of(database, clock)
        await (await _slot(restarted)).keep(ANSWER)
        assert await restarted.begin(A, "key-1", b"body") == ANSWER

    _with_answers(tmp_path, scenario)


def test_an_answer_is_kept_for_24_hours(tmp_path: Path) -> None:
    """An answer is there until the last second of 24 hours, and absent from then on, deleted or not."""

    async def scenario(database: Database, answers: KeptAnswers, clock: Clock) -> None:
        await (await _slot(answers)).keep(ANSWER)
        await (await _slot(answers, key="key-2")).keep(ANSWER)
        clock.now_s = START_S + 24 * 3600 - 0.001
        assert (await sweep_of(database, clock).run())["answers"] == 0
        assert await answers.begin(A, "key-1", b"body") == ANSWER
        clock.now_s = START_S + 24 * 3600
        await (await _slot(answers)).keep(replace(ANSWER, request_id="req_2"))
        assert (await sweep_of(database, clock).run())["answers"] == 1
        async with database.read() as connection:
            rows = (await connection.execute(select(kept_answers.c.request_id))).scalars().all()
        assert rows == ["req_2"]

    _with_answers(tmp_path, scenario)


def test_projects_do_not_share_keys(tmp_path: Path) -> None:
    """The same key and body in two projects are two requests, in flight and kept, and their digests differ."""

    async def scenario(database: Database, answers: KeptAnswers, __: Clock) -> None:
        slots = [await _slot(answers, tenant) for tenant in (A, B)]
        other = replace(ANSWER, body=b"the other project's")
        await slots[0].keep(ANSWER)
        await slots[1].keep(other)
        assert await answers.begin(A, "key-1", b"body") == ANSWER
        assert await answers.begin(B, "key-1", b"body") == other
        async with database.read() as connection:
            digests = (await connection.execute(select(kept_answers.c.key_digest))).scalars().all()
        assert len(set(digests)) == 2

    _with_answers(tmp_path, scenario)


def test_owners_in_a_project_do_not_share_keys(tmp_path: Path) -> None:
    """The same key of two members of a project is two requests, and neither gets the other's answer."""

    async def scenario(_: Database, answers: KeptAnswers, __: Clock) -> None:
        other = replace(A, owner_id="user-b")
        slots = [await _slot(answers, A), await _slot(answers, other, body=b"another body")]
        for slot, request_id in zip(slots, ("req_a", "req_b"), strict=True):
            await slot.keep(replace(ANSWER, request_id=request_id))
        found = await answers.begin(other, "key-1", b"another body")
        assert isinstance(found, KeptAnswer)
        assert found.request_id == "req_b"

    _with_answers(tmp_path, scenario)


def test_an_answer_whose_master_key_is_lost_is_absent(tmp_path: Path) -> None:
    """Under another master key the answer counts as absent, a new one cannot be kept, and the key is free."""

    async def scenario(database: Database, answers: KeptAnswers, clock: Clock) -> None:
        await (await _slot(answers_of(database, clock, secret=b"t" * 32))).keep(ANSWER)
        with pytest.raises(ContentUnreadable):
            await (await _slot(answers)).keep(ANSWER)
        (await _slot(answers)).release()

    _with_answers(tmp_path, scenario)


def test_an_answer_in_another_owners_row_does_not_open(tmp_path: Path) -> None:
    """A row whose owner was changed in the database counts as absent for both."""

    async def scenario(database: Database, answers: KeptAnswers, _: Clock) -> None:
        other = replace(A, owner_id="user-b")
        await (await _slot(answers, other, key="key-2")).keep(ANSWER)
        await (await _slot(answers)).keep(ANSWER)
        async with database.write() as connection:
            digests = select(kept_answers.c.key_digest, kept_answers.c.owner_id)
            named = {row.owner_id: row.key_digest for row in await connection.execute(digests)}
            sealed = select(kept_answers.c.answer).where(kept_answers.c.owner_id == "user-a")
            moved = (await connection.execute(sealed)).scalar_one()
            await connection.execute(
                update(kept_answers).where(kept_answers.c.key_digest == named["user-b"]).values(answer=moved)
            )
        (await _slot(answers, other, key="key-2")).release()
        async with database.read() as connection:
            assert len((await connection.execute(select(content_keys))).all()) == 2

    _with_answers(tmp_path, scenario)


def test_the_file_tells_nothing(tmp_path: Path) -> None:
    """No file of the database has the text of an answer, of a key or of a fingerprint in it."""

    async def scenario(_: Database, answers: KeptAnswers, __: Clock) -> None:
        slot = await _slot(answers, key="a-telling-key", body=b"a telling fingerprint")
        await slot.keep(ANSWER)
        found = b"".join(path.read_bytes() for path in tmp_path.iterdir())  # noqa: ASYNC240
        assert b"proj_a" in found
        for secret in (b"telltale", b"application/json", b"a-telling-key", b"telling fingerprint"):
            assert secret not in found

    _with_answers(tmp_path, scenario)


def test_a_row_that_cannot_be_decrypted_is_replaced(tmp_path: Path) -> None:
    """An answer that is damaged, or moved from another row or owner, counts as absent, and is replaced."""

    async def scenario(database: Database, answers: KeptAnswers, _: Clock) -> None:
        for damage in (b"", b"short", b"x" * 100):
            await (await _slot(answers)).keep(ANSWER)
            async with database.write() as connection:
                await connection.execute(update(kept_answers).values(answer=damage))
        await (await _slot(answers)).keep(replace(ANSWER, request_id="req_moved"))
        await (await _slot(answers, key="key-2")).keep(ANSWER)
        async with database.write() as connection:
            sealed = select(kept_answers.c.answer).where(kept_answers.c.request_id == "req_moved")
            moved = (await connection.execute(sealed)).scalar_one()
            await connection.execute(update(kept_answers).values(answer=moved))
        assert isinstance(await answers.begin(A, "key-1", b"body"), KeptAnswer)
        await (await _slot(answers, key="key-2")).keep(ANSWER)
        assert await answers.begin(A, "key-2", b"body") == ANSWER

    _with_answers(tmp_path, scenario)


@pytest.mark.parametrize("key", ["", "k" * 256, "ключ", "a\nb", "tab\t", "\x7f"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    """A key that is empty, longer than 255 characters or not printable ASCII is a 400 naming the header."""

    async def scenario(_: Database, answers: KeptAnswers, __: Clock) -> None:
        with pytest.raises(InvalidRequest) as caught:
            await answers.begin(A, key, b"body")
        assert (caught.value.status, caught.value.param) == (400, "Idempotency-Key")

    _with_answers(tmp_path, scenario)


def test_the_longest_key_is_taken(tmp_path: Path) -> None:
    """255 printable characters, blanks among them, are a key."""

    async def scenario(_: Database, answers: KeptAnswers, __: Clock) -> None:
        await (await _slot(answers, key="k " * 127 + "~")).keep(ANSWER)
        assert await answers.begin(A, "k " * 127 + "~", b"body") == ANSWER

    _with_answers(tmp_path, scenario)


def test_many_at_once_have_one_slot_between_them(tmp_path: Path) -> None:
    """Of requests that come together, before, while and after an answer is written, one runs and no two do."""

    async def scenario(_: Database, answers: KeptAnswers, __: Clock) -> None:
        runs: list[str] = []

        async def request(key: str) -> str:
            try:
                found = await answers.begin(A, key, b"body")
            except Conflict:
                return "conflict"
            if isinstance(found, KeptAnswer):
                assert found == ANSWER
                return "kept"
            runs.append(key)
            await asyncio.sleep(0.001)
            await found.keep(ANSWER)
            return "ran"

        for number in range(10):
            tasks: list[asyncio.Task[str]] = []
            while len(tasks) < 20:
                tasks.append(asyncio.create_task(request(f"key-{number}")))
                await asyncio.sleep(0.0005)
            outcomes = await asyncio.gather(*tasks)
            assert outcomes.count("ran") == 1
        assert len(runs) == 10
        assert await asyncio.gather(*(request("key-0") for _ in range(20))) == ["kept"] * 20

    _with_answers(tmp_path, scenario)


def test_an_answer_that_cannot_be_kept_frees_the_key(tmp_path: Path) -> None:
    """Where the database refuses the answer, its error is told and the key can be used again."""

    async def scenario(database: Database, answers: KeptAnswers, __: Clock) -> None:
        async with database.write() as connection:
            await connection.exec_driver_sql("ALTER TABLE kept_answers RENAME TO elsewhere")
            await connection.exec_driver_sql("CREATE VIEW kept_answers AS SELECT * FROM elsewhere")
        slot = await _slot(answers)
        with pytest.raises(HomeError):
            await slot.keep(ANSWER)
        (await _slot(answers)).release()

    _with_answers(tmp_path, scenario)
