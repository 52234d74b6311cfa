"""Conversations, responses and stored completions in their rows, on a real database."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects import sqlite

from freehold.errors import ContentUnreadable, InvalidRequest
from freehold.gateway.item_store import Holder, ItemStore
from freehold.gateway.response_draft import Draft
from freehold.gateway.response_store import ResponseStore
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.kept_content import delete_expired, shorten
from freehold.store.kept_items import (
    COMPLETION_TABLES,
    CONVERSATION_TABLES,
    RESPONSE_TABLES,
    ItemTables,
    Page,
    last_place,
)
from freehold.types.content import (
    COMPLETIONS,
    CONVERSATIONS,
    RESPONSES,
    ContentKind,
    RetentionOverride,
    RetentionSettings,
)
from freehold.types.identity import DATA_PLANE, MemberKind, Principal
from freehold.types.responses import ResponseRequest
from tests.gateway.kept import items_of, sweep_of

APP = Principal("org", "proj_a", "app", actions=DATA_PLANE)
OTHER_APP = replace(APP, id="other-app")
ELSEWHERE = replace(APP, project_id="proj_b")
ANN = Principal("org", "proj_a", "ann", kind=MemberKind.USER, actions=DATA_PLANE)
BOB = replace(ANN, id="bob")
KINDS = [
    pytest.param(RESPONSES, RESPONSE_TABLES, {"status": "completed", "background": False}, id="responses"),
    pytest.param(CONVERSATIONS, CONVERSATION_TABLES, {"shared": False}, id="conversations"),
    pytest.param(COMPLETIONS, COMPLETION_TABLES, {"model": "chat"}, id="completions"),
]


class Clock:
    """A clock that is set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test has."""

    store: ItemStore
    database: Database
    clock: Clock
    retention: RetentionRegistry
    columns: dict[str, Any]

    async def make(self, principal: Principal = APP, count: int = 0, name: str = "holder_1") -> Holder:
        """A thing with items."""
        return await self.store.create(principal, name, {"said": "secret"}, items(count), **self.columns)


def items(count: int, first: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Items, each with its side."""
    return [("", {"id": f"item_{number}", "text": f"text {number}"}) for number in range(first, first + count)]


def run(
    folder: Path,
    kind: ContentKind,
    tables: ItemTables,
    columns: dict[str, Any],
    trial: Callable[[Trial], Awaitable[None]],
) -> None:
    """Run a trial on a new home."""

    async def main() -> None:
        database, clock = await Database.open(folder / "freehold.db"), Clock()
        retention = RetentionRegistry(database, RetentionSettings())
        store = items_of(database, clock, kind, tables, retention=retention)
        try:
            await trial(Trial(store, database, clock, retention, columns))
        finally:
            await database.close()

    asyncio.run(main())


async def rows(database: Database, tables: ItemTables) -> list[int]:
    """How many rows each table has."""
    async with database.read() as connection:
        return [
            (await connection.execute(select(func.count()).select_from(table))).scalar_one() for table in tables.all()
        ]


@pytest.mark.parametrize(("kind", "tables", "columns"), KINDS)
def test_items_come_in_their_order_and_by_pages(
    tmp_path: Path, kind: ContentKind, tables: ItemTables, columns: dict[str, Any]
) -> None:
    """Pages forth and back have every item once, an unknown `after` is refused, and a removed item leaves a gap."""

    async def trial(it: Trial) -> None:
        holder = await it.make(count=3)
        assert await it.store.append(APP, holder, items(4, first=3))
        names = [f"item_{number}" for number in range(7)]
        for newest_first, wanted in ((False, names), (True, names[::-1])):
            seen: list[str] = []
            more = True
            while more:
                page = Page(2, newest_first, seen[-1] if seen else None)
                found, more = await it.store.items(holder, page)
                seen += [item["id"] for item in found]
            assert seen == wanted
        with pytest.raises(InvalidRequest, match="item_9"):
            await it.store.items(holder, Page(after="item_9"))
        assert await it.store.remove(holder, "item_3")
        assert not await it.store.remove(holder, "item_3")
        assert await it.store.item(holder, "item_3") is None
        found, more = await it.store.items(holder, Page(10, newest_first=False))
        assert [item["id"] for item in found] == [name for name in names if name != "item_3"]
        assert not more

    run(tmp_path, kind, tables, columns, trial)


@pytest.mark.parametrize(("kind", "tables", "columns"), KINDS)
def test_a_persons_are_his_alone_and_a_programs_its_projects(
    tmp_path: Path, kind: ContentKind, tables: ItemTables, columns: dict[str, Any]
) -> None:
    """Other projects see neither, colleagues only what a service account made, be it by id, in a list or by an item."""

    async def trial(it: Trial) -> None:
        await it.make(APP, 1, "holder_app")
        await it.make(ANN, 1, "holder_ann")
        for principal, seen in (
            (APP, ["holder_app"]),
            (OTHER_APP, ["holder_app"]),
            (ANN, ["holder_app", "holder_ann"]),
            (BOB, ["holder_app"]),
            (ELSEWHERE, []),
            (replace(ANN, project_id="proj_b"), []),
            (replace(APP, organization_id="org-2"), []),
        ):
            for name in ("holder_app", "holder_ann"):
                found = await it.store.get(principal, name)
                assert (found is not None) == (name in seen)
            assert sorted(h.id for h in await it.store.page(principal, Page())) == sorted(seen)
            assert (await it.store.find(principal, "item_0") is not None) == bool(seen)

    run(tmp_path, kind, tables, columns, trial)


@pytest.mark.parametrize(("kind", "tables", "columns"), KINDS)
def test_nothing_is_legible_and_nothing_can_be_moved(
    tmp_path: Path, kind: ContentKind, tables: ItemTables, columns: dict[str, Any]
) -> None:
    """No file of the home has a text; an item that is moved to another holder does not open."""

    async def trial(it: Trial) -> None:
        one, two = await it.make(count=1), await it.make(count=1, name="holder_2")
        table = tables.items
        async with it.database.write() as connection:
            moved = select(table.c.content).where(table.c.holder_id == one.id).scalar_subquery()
            await connection.execute(update(table).where(table.c.holder_id == two.id).values(content=moved))
        assert await it.store.item(one, "item_0") == {"id": "item_0", "text": "text 0"}
        with pytest.raises(ContentUnreadable):
            await it.store.item(two, "item_0")

    run(tmp_path, kind, tables, columns, trial)
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"holder_1" in held
    assert b"secret" not in held
    assert b"text 0" not in held


@pytest.mark.parametrize(("kind", "tables", "columns"), KINDS)
def test_deleting_and_expiring_take_everything(
    tmp_path: Path, kind: ContentKind, tables: ItemTables, columns: dict[str, Any]
) -> None:
    """A deleted thing leaves no row, and takes no more items; what has expired is gone at once, its rows later."""

    async def trial(it: Trial) -> None:
        holder = await it.make(count=3)
        assert await it.store.delete(holder)
        assert await rows(it.database, tables) == [0] * len(tables.all())
        assert not await it.store.append(APP, holder, items(1))
        assert not await it.store.update(holder, {})
        kept = await it.make(count=3)
        await it.retention.put("org", "proj_a", RetentionOverride(keep_s={kind.name: 60}))
        it.clock.now += 30
        assert await it.store.append(APP, kept, items(1, first=3))
        sweep = sweep_of(it.database, it.clock, it.retention)
        assert (await sweep.run())[kind.name] == 0
        it.clock.now += 31
        assert (await sweep.run())[kind.name] == 1
        assert await it.store.get(APP, kept.id) is None
        it.clock.now += 31
        await sweep.run()
        assert await rows(it.database, tables) == [0] * len(tables.all())

    run(tmp_path, kind, tables, columns, trial)


def test_the_last_place_is_found_without_counting(tmp_path: Path) -> None:
    """SQLite takes as many steps to find where the 10,001st item goes as for the first."""

    async def trial(it: Trial) -> None:
        for count in (1, 10_000):
            await it.make(count=count, name=f"holder_{count}")

    run(tmp_path, CONVERSATIONS, CONVERSATION_TABLES, {}, trial)
    short, long = (
        steps(tmp_path / "freehold.db", last_place(CONVERSATION_TABLES, f"holder_{count}")) for count in (1, 10_000)
    )
    assert 0 < long <= 2 * short


def steps(file: Path, query: Select[Any]) -> int:
    """How many instructions SQLite's machine runs for a query that finds something."""
    count = 0

    def instruction() -> int:
        nonlocal count
        count += 1
        return 0

    text = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with closing(sqlite3.connect(file)) as connection:
        connection.set_progress_handler(instruction, 1)
        assert connection.execute(str(text)).fetchall()[0][0] is not None
    return count


def test_what_is_added_to_a_thing_stays_no_longer_than_the_thing(tmp_path: Path) -> None:
    """Items and events that come between the shortening of retention and the deletion go with what they belong to."""

    async def trial(here: Trial) -> None:
        responses = ResponseStore(here.store)
        asked = {"model": "m", "input": "x", "background": True, "stream": True}
        draft = Draft(ResponseRequest.model_validate(asked), "resp_1", "m")
        holder = await responses.add(APP, draft, [], background=True)
        assert await shorten(here.database, RESPONSES, "org", "proj_a", 0)
        await responses.put_events(holder, [{"type": "response.created", "sequence_number": 0}])
        assert await here.store.append(APP, holder, items(1))
        draft.complete()
        draft.output.append({"id": "msg_1", "text": "the answer"})
        assert await responses.finish(holder, draft, {"type": "response.completed", "sequence_number": 1})
        assert await rows(here.database, RESPONSE_TABLES) == [1, 2, 2]
        await delete_expired(here.database, RESPONSES, here.clock.now)
        assert await rows(here.database, RESPONSE_TABLES) == [0, 0, 0]

    run(tmp_path, RESPONSES, RESPONSE_TABLES, {}, trial)


def test_a_page_of_large_items_is_a_short_one(tmp_path: Path) -> None:
    """A page ends before it is too large, says that there is more, and goes on where it ended; one item always fits."""

    async def trial(here: Trial) -> None:
        holder = await here.make()
        large = [
            ("", {"id": f"item_{number}", "text": "x" * size}) for number, size in enumerate([900, 400, 400, 10, 10])
        ]
        assert await here.store.append(APP, holder, large)
        pages, after, more = [], None, True
        while more:
            page = Page(3, newest_first=False, after=after)
            found, more = await here.store.items(holder, page, most_bytes=1200)
            pages.append([item["id"] for item in found])
            after = pages[-1][-1]
        assert pages == [["item_0"], ["item_1", "item_2", "item_3"], ["item_4"]]
        whole, more = await here.store.items(holder, Page(5, newest_first=False), most_bytes=None)
        assert (len(whole), more) == (5, False)

    run(tmp_path, CONVERSATIONS, CONVERSATION_TABLES, {}, trial)
