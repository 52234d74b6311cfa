"""That what is kept goes when it must."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from freehold.errors import NotFound, ZeroRetention
from freehold.gateway.idempotency import KeptAnswer, Slot
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.tables import kept_answers, kept_pictures
from freehold.types.content import RetentionOverride, RetentionSettings, Tenant
from freehold.types.files import FileRequest, Purpose
from freehold.types.identity import DATA_PLANE, Principal
from freehold.types.images import HeldUpload
from tests.gateway.kept import answers_of, files_of, pictures_of, sweep_of
from tests.gateway.test_picture_files import parts

ANSWER = KeptAnswer("req", 200, (), b"an answer")
NO_TALK = {"responses": 0, "conversations": 0, "completions": 0, "batches": 0, "fine_tuning": 0, "evaluations": 0}
TENANT, NEIGHBOUR = Tenant("org", "proj", "user"), Tenant("org", "proj-2", "user")


class Clock:
    """A clock that is set by hand."""

    now = 1_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


Trial = Callable[[Database, RetentionRegistry, Clock], Awaitable[None]]


def with_retention(folder: Path, trial: Trial, defaults: RetentionSettings | None = None) -> None:
    """Run a trial on the settings of a home, as a program that starts there."""

    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        try:
            registry = RetentionRegistry(database, defaults or RetentionSettings())
            await registry.load()
            await trial(database, registry, Clock())
        finally:
            await database.close()

    asyncio.run(main())


async def keep_one_of_each(database: Database, retention: RetentionRegistry, clock: Clock, tenant: Tenant) -> str:
    """Keep an answer, a file and a picture; the picture's address."""
    principal = Principal(tenant.organization_id, tenant.project_id, tenant.owner_id, actions=DATA_PLANE)
    note = FileRequest(purpose=Purpose.USER_DATA)
    await files_of(database, clock, retention=retention).create(principal, HeldUpload(b"a file", "a.txt"), note)
    slot = await answers_of(database, clock, retention=retention).begin(tenant, "key", b"body")
    assert isinstance(slot, Slot)
    await slot.keep(ANSWER)
    return await pictures_of(database, clock, retention=retention).keep(tenant, "req", b"a picture", "png")


async def counts(database: Database) -> tuple[int, int]:
    """How many answers and pictures there are."""
    async with database.read() as connection:
        found = [
            (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in (kept_answers, kept_pictures)
        ]
    return found[0], found[1]


def test_each_kind_is_kept_as_long_as_its_project_says(tmp_path: Path) -> None:
    """The sweep deletes what has expired by its project's setting and leaves the rest."""

    async def trial(database: Database, retention: RetentionRegistry, clock: Clock) -> None:
        await retention.put("org", "proj", RetentionOverride(keep_s={"answers": 60, "pictures": 120}))
        for tenant in (TENANT, NEIGHBOUR):
            await keep_one_of_each(database, retention, clock, tenant)
        sweep = sweep_of(database, clock, retention)
        for after, left in ((59, (2, 2)), (61, (1, 2)), (121, (1, 1)), (86_401, (0, 0))):
            clock.now = 1_000_000.0 + after
            await sweep.run()
            assert await counts(database) == left

    with_retention(tmp_path, trial)


def test_a_shorter_time_reaches_what_is_there(tmp_path: Path) -> None:
    """What was kept for a day goes after a minute once its project says so, also by a new configuration."""

    async def trial(database: Database, retention: RetentionRegistry, clock: Clock) -> None:
        await keep_one_of_each(database, retention, clock, TENANT)
        await keep_one_of_each(database, retention, clock, NEIGHBOUR)
        clock.now += 100
        await retention.put("org", "proj", RetentionOverride(keep_s={"answers": 60}))
        assert await sweep_of(database, clock, retention).run() == {
            "answers": 1,
            "pictures": 0,
            "flagged": 0,
            "files": 0,
            **NO_TALK,
        }

    async def restarted(database: Database, retention: RetentionRegistry, clock: Clock) -> None:
        clock.now += 100
        assert await sweep_of(database, clock, retention).run() == {
            "answers": 1,
            "pictures": 2,
            "flagged": 0,
            "files": 2,
            **NO_TALK,
        }

    with_retention(tmp_path, trial)
    with_retention(tmp_path, restarted, RetentionSettings(answers_s=60, pictures_s=60, files_s=60))


def test_zero_retention_keeps_nothing_from_then_on(tmp_path: Path) -> None:
    """What was kept goes with the next sweep, keeping is refused, and a running request's answer is not kept."""

    async def trial(database: Database, retention: RetentionRegistry, clock: Clock) -> None:
        address = await keep_one_of_each(database, retention, clock, TENANT)
        answers, pictures = (
            answers_of(database, clock, retention=retention),
            pictures_of(database, clock, retention=retention),
        )
        running = await answers.begin(TENANT, "running", b"body")
        assert isinstance(running, Slot)
        await retention.put("org", "proj", RetentionOverride(type="zero_data_retention"))
        await sweep_of(database, clock, retention).run()
        assert await counts(database) == (0, 0)
        await running.keep(ANSWER)
        with pytest.raises(ZeroRetention) as header:
            await answers.begin(TENANT, "key", b"body")
        assert header.value.param == "Idempotency-Key"
        with pytest.raises(ZeroRetention) as asked:
            await pictures.keep(TENANT, "req", b"a picture", "png")
        assert asked.value.param == "response_format"
        with pytest.raises(NotFound):
            await pictures.find(*parts(address))
        assert await counts(database) == (0, 0)

    with_retention(tmp_path, trial)
