"""Reading administrative actions, in SQLite and in PostgreSQL."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.store.audit_queries import ActionRow, AuditQuery, Place, find_action, find_actions
from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_writing import ACTION, Progress, Row, clear, load_progress, write_batch

START_US = 1_795_521_600_000_000
EVENTS = ("", "project.created", "project.archived", "deployment.created", "project_x.created")


def actions(count: int) -> list[dict[str, object]]:
    """Actions of two organizations, several in the same microsecond."""
    dice = random.Random(5)  # the same each time
    return [
        {
            "writer": "main",
            "seq": seq,
            "segment": 1,
            "offset": 100 * seq,
            "recorded_at": START_US + seq // 3,
            "organization_id": dice.choice(("org-1", "org-2", "")),
            "project_id": dice.choice(("", "proj-1", "proj-2")),
            "event": dice.choice(EVENTS),
            "principal": dice.choice(("user-1", "svc-1")),
            "key_id": dice.choice(("", "key-1")),
            "resource_id": dice.choice(("a", "b")),
            "body": f'{{"n":{seq}}}',
        }
        for seq in range(1, count + 1)
    ]


def rows_of(found: list[dict[str, object]]) -> list[Row]:
    """The same as rows."""
    return [tuple(each[name] for name in ACTION) for each in found]


async def open_with(home: Path, url: str | None, found: list[dict[str, object]]) -> UsageDatabase:
    """A database that has the actions, written twice over by two batches that overlap."""
    database = UsageDatabase.at(home / "usage.db", url)
    await load_progress(database, "main")
    end = Progress(1, 1, len(found), 1, 0, "f")
    assert await write_batch(database, "main", Progress(), end, [], rows_of(found))
    assert await write_batch(database, "main", end, end, [], rows_of(found))
    return database


def expected(found: list[dict[str, object]], query: AuditQuery) -> list[int]:
    """The numbers of what a query without a cursor should give."""

    def chosen(each: dict[str, object]) -> bool:
        event = str(each["event"])
        families = tuple(name.removesuffix("*") for name in query.events if name.endswith("*"))
        return (
            each["organization_id"] in query.organizations
            and (
                (event in query.events or (bool(families) and event.startswith(families)))
                if query.events
                else bool(event) or not query.with_event
            )
            and (not query.projects or each["project_id"] in query.projects)
            and (query.actors is None or each["principal"] in query.actors or each["key_id"] in query.actors)
            and (not query.resources or each["resource_id"] in query.resources)
            and (query.since_us is None or int(str(each["recorded_at"])) >= query.since_us)
            and (query.until_us is None or int(str(each["recorded_at"])) < query.until_us)
        )

    return [int(str(each["seq"])) for each in reversed(found) if chosen(each)]


QUERIES = (
    AuditQuery(("org-1",)),
    AuditQuery(("org-1", "")),
    AuditQuery(("org-1",), with_event=False),
    AuditQuery(("org-1",), events=("project.*",)),
    AuditQuery(("org-1",), events=("project.*", "deployment.created")),
    AuditQuery(("org-1",), events=("project.created",), projects=("proj-1", "proj-2")),
    AuditQuery(("org-1",), actors=("svc-1", "key-1"), resources=("a",)),
    AuditQuery(("org-1",), actors=()),
    AuditQuery(("org-1",), since_us=START_US + 10, until_us=START_US + 30),
    AuditQuery(("org-3",)),
    AuditQuery(("org-1",), resources=("a\0",), events=("project.*", "\0.*")),
)


@pytest.mark.slow
def test_pages_of_what_was_asked_for(usage_url: str | None, tmp_path: Path) -> None:
    """Pages in both directions give every action that is asked for once, newest first, and say whether more follow."""
    found = actions(120)

    async def scenario() -> None:
        database = await open_with(tmp_path, usage_url, found)
        for query in QUERIES:
            wanted = expected(found, query)
            pages = await forwards(database, replace(query, limit=7))
            assert [row.place.seq for page in pages for row in page] == wanted, query
            assert all(len(page) == 7 for page in pages[:-1])
            if len(pages) > 1:
                before = replace(query, before=pages[1][0].place, limit=7)
                assert await find_actions(database, before) == (pages[0], False)
        await database.close()

    asyncio.run(scenario())


async def forwards(database: UsageDatabase, query: AuditQuery) -> list[list[ActionRow]]:
    """All pages, as a client asks for them."""
    pages = []
    after: Place | None = None
    while True:
        rows, more = await find_actions(database, replace(query, after=after))
        pages.append(rows)
        if not more:
            return pages
        after = rows[-1].place


@pytest.mark.slow
def test_one_action_is_found_by_its_own_organization(usage_url: str | None, tmp_path: Path) -> None:
    """An action is read by the number of its record; another organization does not find it."""
    found = actions(5)

    async def scenario() -> tuple[ActionRow | None, ActionRow | None]:
        database = await open_with(tmp_path, usage_url, found)
        own = str(found[2]["organization_id"])
        mine = await find_action(database, (own,), "main", 3)
        other = await find_action(database, ("org-9",), "main", 3)
        await database.close()
        return mine, other

    mine, other = asyncio.run(scenario())
    assert mine == ActionRow(Place(START_US + 1, "main", 3), {"n": 3})
    assert other is None


@pytest.mark.slow
def test_a_rebuild_forgets_what_the_journal_still_has(usage_url: str | None, tmp_path: Path) -> None:
    """To begin anew forgets the actions that the journal still holds, and keeps those that it does not."""
    found = actions(30)

    async def scenario() -> list[list[int]]:
        database = await open_with(tmp_path, usage_url, found)
        kept = []
        for first in (11, 0):
            await clear(database, "main", first)
            rows, _ = await find_actions(database, AuditQuery(("org-1", "org-2", ""), with_event=False, limit=100))
            kept.append([row.place.seq for row in rows])
        await database.close()
        return kept

    assert asyncio.run(scenario()) == [list(range(10, 0, -1)), []]
