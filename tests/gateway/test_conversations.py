"""Conversations on a real database: who they are there for, and what can be done with them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from freehold.errors import Forbidden, InvalidRequest, NotFound, ZeroRetention
from freehold.gateway.conversations import Conversations
from freehold.store.database import Database
from freehold.store.kept_items import CONVERSATION_TABLES, Page
from freehold.types.content import RetentionOverride
from freehold.types.conversations import ConversationQuery
from freehold.types.identity import Action, Principal
from tests.gateway.conversing import ANN, APP, BOB, ITEMS, OTHER_APP, Trial, listed, run, text_of, texts
from tests.gateway.kept import sweep_of

STRANGERS = {
    "another project": replace(ANN, project_id="proj_b"),
    "a colleague": BOB,
    "a program of the project": APP,
    "another organization": replace(ANN, organization_id="org-2"),
}
APPROVAL = {
    "type": "mcp_approval_request",
    "id": "mcpr_1",
    "server_label": "search",
    "name": "find",
    "arguments": "{}",
}


async def rows(database: Database) -> list[int]:
    """How many conversations there are, and how many items."""
    async with database.read() as connection:
        return [
            (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in CONVERSATION_TABLES.all()
        ]


def operations(conversations: Conversations, item_id: str) -> Sequence[Callable[[Principal, str], Awaitable[Any]]]:
    """Everything that can be asked of a conversation by its id."""
    return (
        conversations.get,
        partial(conversations.update, metadata={}),
        conversations.delete,
        partial(conversations.add_items, items=texts("x")),
        partial(conversations.list_items, page=Page()),
        partial(conversations.list_items, page=Page(after=item_id)),
        partial(conversations.get_item, item_id=item_id),
        partial(conversations.delete_item, item_id=item_id),
        conversations.context,
    )


def test_a_conversation_keeps_what_was_said_in_its_order(tmp_path: Path) -> None:
    """What it began with comes before what was added, each under an id of its own, and nothing is legible."""

    async def trial(home: Trial) -> None:
        begun = await home.begun(ANN, "first words", metadata={"topic": "hidden label"})
        assert begun.id.startswith("conv_")
        assert begun.row.created_at == home.clock.now
        added = await home.conversations.add_items(ANN, begun.id, texts("second", "third"))
        assert [text_of(item) for item in added] == ["second", "third"]
        assert await home.said(ANN, begun.id) == ["first words", "second", "third"]
        assert await home.conversations.get_item(ANN, begun.id, added[0]["id"]) == added[0]
        assert (await home.conversations.get(ANN, begun.id)).header == {"metadata": {"topic": "hidden label"}}

    run(tmp_path, trial)
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"conv_" in held
    assert b"first words" not in held
    assert b"hidden label" not in held


def test_metadata_are_replaced_whole(tmp_path: Path) -> None:
    """An update leaves nothing of the pairs before, and nothing else changes."""

    async def trial(home: Trial) -> None:
        begun = await home.begun(ANN, "words", metadata={"a": "1", "b": "2"})
        home.clock.now += 60
        updated = await home.conversations.update(ANN, begun.id, {"b": "3"})
        assert updated.header == {"metadata": {"b": "3"}}
        found = await home.conversations.get(ANN, begun.id)
        assert (found.header, found.row.created_at) == (updated.header, begun.row.created_at)
        assert await home.said(ANN, begun.id) == ["words"]

    run(tmp_path, trial)


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_somebody_elses_conversation_does_not_exist(tmp_path: Path, stranger: Principal) -> None:
    """Every operation says of a person's conversation to others what it says of one that never was, and lists none."""

    async def trial(home: Trial) -> None:
        begun = await home.begun(ANN, "words")
        items, _ = await home.conversations.list_items(ANN, begun.id, Page())
        for ask in operations(home.conversations, items[0]["id"]):
            told = []
            for conversation_id in (begun.id, "conv_0"):
                with pytest.raises(NotFound) as refused:
                    await ask(stranger, conversation_id)
                told.append((refused.value.message.replace(conversation_id, ""), refused.value.param))
            assert told[0] == told[1]
        with pytest.raises(NotFound) as refused:
            await home.conversations.context(stranger, begun.id)
        assert refused.value.param == "conversation"
        assert (await home.conversations.list(stranger, ConversationQuery())).found == []
        assert await home.said(ANN, begun.id) == ["words"]

    run(tmp_path, trial)


def test_a_programs_conversation_is_its_projects(tmp_path: Path) -> None:
    """Everybody in the project reads and adds to it; a program lists it, a person only his own."""

    async def trial(home: Trial) -> None:
        begun, own = await home.begun(APP, "one"), await home.begun(ANN)
        for principal in (OTHER_APP, ANN):
            await home.conversations.add_items(principal, begun.id, texts(principal.id))
        assert await home.said(BOB, begun.id) == ["one", "other-app", "ann"]
        for principal, seen in ((APP, [begun.id]), (OTHER_APP, [begun.id]), (ANN, [own.id]), (BOB, [])):
            assert await listed(home.conversations, principal, ConversationQuery()) == seen

    run(tmp_path, trial)


def test_an_item_is_its_conversations(tmp_path: Path) -> None:
    """An item of another conversation of one's own is no item here, and no place in a list either."""

    async def trial(home: Trial) -> None:
        one, two = await home.begun(ANN, "one"), await home.begun(ANN, "two")
        items, _ = await home.conversations.list_items(ANN, two.id, Page())
        foreign = items[0]["id"]
        for ask in (home.conversations.get_item, home.conversations.delete_item):
            with pytest.raises(NotFound, match=f"Item with id '{foreign}' not found"):
                await ask(ANN, one.id, foreign)
        with pytest.raises(InvalidRequest, match=foreign) as refused:
            await home.conversations.list_items(ANN, one.id, Page(after=foreign))
        assert refused.value.param == "after"
        assert await home.said(ANN, two.id) == ["two"]

    run(tmp_path, trial)


def test_deleting_takes_the_items(tmp_path: Path) -> None:
    """A deleted conversation leaves no row; a deleted item leaves the others, and the conversation is told."""

    async def trial(home: Trial) -> None:
        begun = await home.begun(ANN, "one", "two", "three")
        items, _ = await home.conversations.list_items(ANN, begun.id, Page())
        assert (await home.conversations.delete_item(ANN, begun.id, items[1]["id"])).id == begun.id
        assert await home.said(ANN, begun.id) == ["one", "three"]
        with pytest.raises(NotFound):
            await home.conversations.delete_item(ANN, begun.id, items[1]["id"])
        holder = await home.conversations.context(ANN, begun.id)
        await home.conversations.delete(ANN, begun.id)
        assert await rows(home.database) == [0, 0]
        assert not await home.conversations.append(ANN, holder, [{"id": "msg_1"}])
        for ask in operations(home.conversations, items[0]["id"]):
            with pytest.raises(NotFound, match=f"Conversation with id '{begun.id}' not found"):
                await ask(ANN, begun.id)

    run(tmp_path, trial)


def test_reading_and_writing_are_rights_of_their_own(tmp_path: Path) -> None:
    """Who may only read changes nothing, who may do neither sees nothing, and a response needs both."""

    async def trial(home: Trial) -> None:
        begun = await home.begun(ANN, "one")
        items, _ = await home.conversations.list_items(ANN, begun.id, Page())
        reader = replace(ANN, actions=frozenset({Action.READ_CONVERSATIONS}))
        writer = replace(ANN, actions=frozenset({Action.WRITE_CONVERSATIONS}))
        asked = operations(home.conversations, items[0]["id"])
        changing = (1, 2, 3, 7)
        for number, ask in enumerate(asked):
            refused = {
                reader: number in changing,
                writer: number not in changing,
                replace(ANN, actions=frozenset()): True,
            }
            if number == len(asked) - 1:
                refused = dict.fromkeys(refused, True)
            for principal, forbidden in refused.items():
                if forbidden:
                    with pytest.raises(Forbidden, match="conversations:"):
                        await ask(principal, begun.id)
        assert await home.said(reader, begun.id) == ["one"]
        with pytest.raises(Forbidden):
            await home.begun(reader)
        with pytest.raises(Forbidden):
            await home.conversations.list(writer, ConversationQuery())
        assert await listed(home.conversations, reader, ConversationQuery()) == [begun.id]

    run(tmp_path, trial)


def test_what_cannot_be_added_is_named(tmp_path: Path) -> None:
    """A reference, and a second question for approval with the id of another, are refused, and nothing is added."""

    async def trial(home: Trial) -> None:
        begun = await home.begun(ANN, "one")
        reference = ITEMS.validate_python([{"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_1"}])
        with pytest.raises(InvalidRequest, match="item_reference") as refused:
            await home.conversations.add_items(ANN, begun.id, reference)
        assert refused.value.param == "items[1]"
        approvals = ITEMS.validate_python([APPROVAL, APPROVAL])
        with pytest.raises(InvalidRequest, match="mcp_approval_request"):
            await home.conversations.create(ANN, {}, approvals)
        (made,) = await home.conversations.add_items(ANN, begun.id, approvals[:1])
        assert made["id"] == "mcpr_1"
        with pytest.raises(InvalidRequest, match="mcp_approval_request") as refused:
            await home.conversations.add_items(ANN, begun.id, [*texts("two"), approvals[0]])
        assert refused.value.param == "items"
        assert await rows(home.database) == [1, 2]

    run(tmp_path, trial)


def test_items_that_are_added_together_stay_together(tmp_path: Path) -> None:
    """Of requests that come at once each has its items side by side, and none is lost."""

    async def trial(home: Trial) -> None:
        begun = await home.begun(ANN)
        await asyncio.gather(
            *(home.conversations.add_items(ANN, begun.id, texts(f"{n} a", f"{n} b")) for n in range(20))
        )
        said = await home.said(ANN, begun.id)
        numbers = [int(text.split()[0]) for text in said[::2]]
        assert sorted(numbers) == list(range(20))
        assert said == [f"{n} {part}" for n in numbers for part in "ab"]

    run(tmp_path, trial)


def test_nothing_is_kept_under_zero_retention(tmp_path: Path) -> None:
    """Neither a conversation nor an item is made, the error names the parameter, and what there was is gone."""

    async def trial(home: Trial) -> None:
        begun = await home.begun(ANN, "one")
        await home.retention.put("org", "proj_a", RetentionOverride(type="zero_data_retention"))
        for ask in (home.begun(ANN), home.conversations.add_items(ANN, begun.id, texts("two"))):
            with pytest.raises(ZeroRetention) as refused:
                await ask
            assert refused.value.param == "items"
        await sweep_of(home.database, home.clock, home.retention).run()
        with pytest.raises(NotFound):
            await home.conversations.get(ANN, begun.id)

    run(tmp_path, trial)


def test_an_expired_conversation_is_gone_with_what_was_added_last(tmp_path: Path) -> None:
    """A conversation ends as long after it was made as its project says, and its items end with it."""

    async def trial(home: Trial) -> None:
        await home.retention.put("org", "proj_a", RetentionOverride(keep_s={"conversations": 60}))
        begun = await home.begun(ANN, "one")
        home.clock.now += 59
        await home.conversations.add_items(ANN, begun.id, texts("two"))
        assert await home.said(ANN, begun.id) == ["one", "two"]
        home.clock.now += 1
        with pytest.raises(NotFound, match=f"Conversation with id '{begun.id}' not found"):
            await home.conversations.get(ANN, begun.id)
        assert await listed(home.conversations, ANN, ConversationQuery()) == []
        await sweep_of(home.database, home.clock, home.retention).run()
        assert await rows(home.database) == [0, 0]

    run(tmp_path, trial)
