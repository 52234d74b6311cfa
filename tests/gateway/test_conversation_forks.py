"""Copies of conversations: what they hold, whose they are, and what becomes of one that breaks off."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from freehold.errors import Forbidden, InvalidRequest, NotFound, ZeroRetention
from freehold.gateway.item_store import COPIED_AT_ONCE
from freehold.gateway.retention import Sweep
from freehold.store.kept_items import CONVERSATION_TABLES, Page
from freehold.types.content import RetentionOverride
from freehold.types.conversations import ConversationQuery
from freehold.types.identity import Action
from tests.gateway.conversing import ANN, APP, BOB, Trial, listed, run, text_of, texts
from tests.gateway.kept import sweep_of


async def ids_of(home: Trial, conversation_id: str) -> list[str]:
    """The ids of the first hundred items, the oldest first."""
    found, _ = await home.conversations.list_items(ANN, conversation_id, Page(100, newest_first=False))
    return [item["id"] for item in found]


async def count_items(home: Trial) -> int:
    """How many items there are in the database."""
    async with home.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(CONVERSATION_TABLES.items))).scalar_one()


@pytest.mark.parametrize(
    ("last", "kept"), [(None, 4), ("", 0), (0, 1), (2, 3)], ids=["all", "none", "up to the first", "up to the third"]
)
def test_a_copy_has_the_items_up_to_one_under_their_ids(tmp_path: Path, last: Any, kept: int) -> None:
    """It has what was said up to there, in order; either grows and shrinks from then on without the other."""

    async def trial(home: Trial) -> None:
        source = await home.begun(ANN, "one", "two", "three", "four", metadata={"title": "Tea"})
        ids = await ids_of(home, source.id)
        name = ids[last] if isinstance(last, int) else last
        home.clock.now += 60
        made, count = await home.conversations.fork(ANN, source.id, name, None)
        assert (count, await ids_of(home, made.id)) == (kept, ids[:kept])
        assert await home.said(ANN, made.id) == ["one", "two", "three", "four"][:kept]
        assert made.header == {"metadata": {"title": "Tea"}}
        assert made.row.created_at == source.row.created_at + 60
        await home.conversations.add_items(ANN, made.id, texts("another way"))
        await home.conversations.delete(ANN, source.id)
        assert await home.said(ANN, made.id) == [*["one", "two", "three", "four"][:kept], "another way"]
        assert await listed(home.conversations, ANN, ConversationQuery()) == [made.id]

    run(tmp_path, trial)


def test_metadata_of_a_copy_can_be_given(tmp_path: Path) -> None:
    """Those that are given take the place of the other's, none among them; the other keeps its own."""

    async def trial(home: Trial) -> None:
        source = await home.begun(ANN, "one", metadata={"title": "Tea"})
        for metadata in ({"title": "Coffee"}, {}):
            made, _ = await home.conversations.fork(ANN, source.id, None, metadata)
            assert (await home.conversations.get(ANN, made.id)).header == {"metadata": metadata}
        assert (await home.conversations.get(ANN, source.id)).header == {"metadata": {"title": "Tea"}}

    run(tmp_path, trial)


def test_long_conversations_are_copied_whole(tmp_path: Path) -> None:
    """More items than are copied at once are all there, a gap among them, and large ones come in pieces."""

    async def trial(home: Trial) -> None:
        source = await home.begun(ANN, "x" * 3_000_000, "y" * 3_000_000)
        for first in range(0, COPIED_AT_ONCE + 10, 10):
            await home.conversations.add_items(ANN, source.id, texts(*(str(first + n) for n in range(10))))
        page, _ = await home.conversations.list_items(ANN, source.id, Page(100, newest_first=False))
        await home.conversations.delete_item(ANN, source.id, page[50]["id"])
        made, count = await home.conversations.fork(ANN, source.id, None, {})
        said: list[list[str]] = []
        for conversation_id in (source.id, made.id):
            said.append([])
            after, more = None, True
            while more:
                page, more = await home.conversations.list_items(ANN, conversation_id, Page(100, after=after))
                said[-1] += [item["id"] + text_of(item) for item in page]
                after = page[-1]["id"]
        assert said[0] == said[1]
        assert count == len(said[0]) == COPIED_AT_ONCE + 11

    run(tmp_path, trial)


def test_what_cannot_be_copied(tmp_path: Path) -> None:
    """An item of elsewhere, somebody else's conversation; nor by who may not write, nor where nothing is kept."""

    async def trial(home: Trial) -> None:
        source, other = await home.begun(ANN, "one"), await home.begun(ANN, "two")
        foreign = (await ids_of(home, other.id))[0]
        with pytest.raises(InvalidRequest, match=foreign) as wrong:
            await home.conversations.fork(ANN, source.id, foreign, None)
        assert wrong.value.param == "after"
        for stranger in (BOB, APP):
            with pytest.raises(NotFound):
                await home.conversations.fork(stranger, source.id, None, None)
        reading = replace(ANN, actions=frozenset({Action.READ_CONVERSATIONS}))
        with pytest.raises(Forbidden):
            await home.conversations.fork(reading, source.id, None, None)
        await home.retention.put("org", "proj_a", RetentionOverride(type="zero_data_retention"))
        with pytest.raises(ZeroRetention):
            await home.conversations.fork(ANN, source.id, None, None)
        assert await count_items(home) == 2

    run(tmp_path, trial)


def test_a_copy_that_breaks_off_is_never_there(tmp_path: Path) -> None:
    """Cancelled between two pieces, nothing of it is listed or found, and the sweep takes the rest within the hour."""

    async def trial(home: Trial) -> None:
        source = await home.begun(ANN, *["x" * 3_000_000] * 3)
        copying = asyncio.create_task(home.conversations.fork(ANN, source.id, None, {}))
        while await count_items(home) < 4:
            assert not copying.done()
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
        assert copying.cancelled()
        assert await listed(home.conversations, ANN, ConversationQuery()) == [source.id]
        sweep: Sweep = sweep_of(home.database, home.clock)
        await sweep.run()
        assert await count_items(home) > 3
        home.clock.now += 3601
        await sweep.run()
        assert await count_items(home) == 3

    run(tmp_path, trial)


def test_a_programs_conversation_becomes_a_persons_own(tmp_path: Path) -> None:
    """What a person copies of what is its project's is that person's alone; a program's copy is its project's again."""

    async def trial(home: Trial) -> None:
        source = await home.begun(APP, "one")
        mine, _ = await home.conversations.fork(ANN, source.id, None, None)
        with pytest.raises(NotFound):
            await home.conversations.get(BOB, mine.id)
        theirs, _ = await home.conversations.fork(APP, source.id, None, None)
        assert await home.said(BOB, theirs.id) == ["one"]

    run(tmp_path, trial)
