"""Who is suspended, where, and for how long."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.errors import NotFound, Suspended
from freehold.governance.suspensions import EVERYWHERE, Suspensions
from freehold.store.database import Database
from freehold.store.suspensions import SuspensionRow, all_suspensions
from freehold.types.abuse import SubjectKind
from freehold.types.identity import Principal

ROW = SuspensionRow("", "org", "proj", "end_user", "eu_1", "sends bananaphone", False, None, "user-1", 0)
ANN = Principal("org", "proj", "user-ann")


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def with_suspensions(
    folder: Path, trial: Callable[[Suspensions, Database, Clock], Awaitable[None]], clock: Clock | None = None
) -> None:
    """Run a trial on the suspensions of a home, as a program that starts there."""

    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        try:
            found = clock or Clock()
            suspensions = Suspensions(database, clock=found)
            await suspensions.load()
            await trial(suspensions, database, found)
        finally:
            await database.close()

    asyncio.run(main())


def test_an_end_user_is_suspended_where_it_was_said(tmp_path: Path) -> None:
    """An end user of one project is refused there and nowhere else; everywhere is all of one organization."""

    async def trial(suspensions: Suspensions, _database: Database, _clock: Clock) -> None:
        elsewhere, strangers = replace(ANN, project_id="proj-2"), replace(ANN, organization_id="org-2")
        assert suspensions.objection(ANN, "eu_1") is None
        _, made = await suspensions.put(ROW)
        assert isinstance(suspensions.objection(ANN, "eu_1"), Suspended)
        assert [suspensions.objection(*whom) for whom in ((ANN, None), (ANN, "eu_2"), (elsewhere, "eu_1"))] == [
            None
        ] * 3
        await suspensions.put(replace(ROW, project_id=EVERYWHERE))
        assert suspensions.objection(elsewhere, "eu_1") is not None
        assert suspensions.objection(strangers, "eu_1") is None
        await suspensions.lift("org", made.id)
        assert suspensions.objection(ANN, "eu_1") is not None
        (left,) = suspensions.all("org")
        await suspensions.lift("org", left.id)
        assert suspensions.objection(ANN, "eu_1") is None

    with_suspensions(tmp_path, trial)


def test_a_member_is_suspended_whomever_it_acts_for(tmp_path: Path) -> None:
    """A suspended member is refused with and without an end user, and after a start again."""

    async def suspend(suspensions: Suspensions, _database: Database, _clock: Clock) -> None:
        await suspensions.put(replace(ROW, kind="principal", subject_id=ANN.id, project_id=EVERYWHERE))
        await check(suspensions, _database, _clock)

    async def check(suspensions: Suspensions, _database: Database, _clock: Clock) -> None:
        assert suspensions.objection(ANN, None) is not None
        assert suspensions.objection(ANN, "eu_9") is not None
        assert suspensions.objection(replace(ANN, id="user-bob"), None) is None

    with_suspensions(tmp_path, suspend)
    with_suspensions(tmp_path, check)


def test_the_reason_is_told_only_where_it_may_be(tmp_path: Path) -> None:
    """The error has the reason where the suspension says so; else it has nothing of it."""

    async def trial(suspensions: Suspensions, _database: Database, _clock: Clock) -> None:
        for tell, message in (
            (False, "This end user is suspended in this project."),
            (True, "This end user is suspended in this project: sends bananaphone"),
        ):
            before, made = await suspensions.put(replace(ROW, tell=tell))
            assert before is None or before.id == made.id
            objection = suspensions.objection(ANN, "eu_1")
            assert objection is not None
            assert (objection.message, objection.code, objection.status) == (message, "suspended", 403)
        assert len(suspensions.all("org")) == 1

    with_suspensions(tmp_path, trial)


def test_a_suspension_ends_by_itself(tmp_path: Path) -> None:
    """From the second that it names it holds no more, is not listed nor lifted, and goes with the next change."""

    async def trial(suspensions: Suspensions, database: Database, clock: Clock) -> None:
        _, made = await suspensions.put(replace(ROW, until=1600))
        clock.now_s = 1599.9
        assert suspensions.objection(ANN, "eu_1") is not None
        clock.now_s = 1600.0
        assert suspensions.objection(ANN, "eu_1") is None
        assert suspensions.all("org") == []
        with pytest.raises(NotFound, match=made.id):
            await suspensions.lift("org", made.id)
        await suspensions.put(replace(ROW, subject_id="eu_2"))
        assert [row.subject_id for row in await all_suspensions(database)] == ["eu_2"]

    with_suspensions(tmp_path, trial)


def test_another_organizations_suspension_is_not_there(tmp_path: Path) -> None:
    """Who is not of the organization sees no suspension of it and lifts none."""

    async def trial(suspensions: Suspensions, _database: Database, _clock: Clock) -> None:
        _, made = await suspensions.put(ROW)
        assert suspensions.all("org-2") == []
        with pytest.raises(NotFound):
            await suspensions.lift("org-2", made.id)
        assert suspensions.all("org", ["proj-2"]) == []
        assert suspensions.all("org", ["proj"]) == [made]
        assert suspensions.anywhere("org", SubjectKind.END_USER, "eu_1") == [made]

    with_suspensions(tmp_path, trial)


def test_what_is_kept_of_members_who_are_gone_goes(tmp_path: Path) -> None:
    """With the members who are there no more their suspensions go; those of end users and of others stay."""

    async def trial(suspensions: Suspensions, database: Database, _clock: Clock) -> None:
        await suspensions.put(ROW)
        for member in ("user-ann", "user-bob"):
            await suspensions.put(replace(ROW, kind="principal", subject_id=member))
        await suspensions.forget_strangers(lambda member_id: member_id if member_id == "user-bob" else None)
        assert {row.subject_id for row in await all_suspensions(database)} == {"eu_1", "user-bob"}
        assert suspensions.objection(ANN, None) is None

    with_suspensions(tmp_path, trial)


def test_whoever_listens_hears_of_a_suspension(tmp_path: Path) -> None:
    """What runs can be stopped the moment that somebody is suspended; the suspension holds by then."""

    async def trial(suspensions: Suspensions, _database: Database, _clock: Clock) -> None:
        heard: list[bool] = []
        suspensions.on_change(lambda: heard.append(suspensions.objection(ANN, "eu_1") is not None))
        await suspensions.put(ROW)
        assert heard == [True]

    with_suspensions(tmp_path, trial)
