"""Conversations that persons share: who reads them, who changes them, who learns of them, and what is recorded."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from freehold.errors import Conflict, Forbidden, NotFound
from freehold.gateway.conversation_sharing import Sharing
from freehold.gateway.conversations import shared_by_others
from freehold.journal.journal import Journal
from freehold.store.directory import MemberRow
from freehold.store.kept_items import CONVERSATION_TABLES, Page, Reader, page_of_holders
from freehold.types.conversations import ConversationQuery
from freehold.types.identity import Action, MemberKind, Principal
from tests.gateway.conversing import ANN, APP, BOB, Clock, Trial, listed, run, texts
from tests.gateway.test_item_store import steps
from tests.usage import open_journal

Change: TypeAlias = Callable[[Principal, str], Awaitable[Any]]

OUTSIDERS = {
    "another project": replace(BOB, project_id="proj_b"),
    "another organization": replace(BOB, organization_id="org-2"),
}


@dataclass(frozen=True, slots=True)
class Shop:
    """A home with its journal."""

    home: Trial
    sharing: Sharing
    journal: Journal

    async def share(self, principal: Principal, conversation_id: str, *, shared: bool = True) -> Any:
        """Share a conversation, or end that."""
        return await self.sharing.set(principal, conversation_id, "req_1", shared=shared)


def run_shop(folder: Path, trial: Callable[[Shop], Awaitable[None]]) -> list[dict[str, Any]]:
    """Run a trial with a journal; its administrative records."""
    member = MemberRow("ann", "org", MemberKind.USER.value, None, "Ann", "ann@example.org", 0)

    async def main(home: Trial) -> None:
        journal = await open_journal(folder)
        sharing = Sharing(home.conversations, journal, {"ann": member}.get)
        try:
            await trial(Shop(home, sharing, journal))
        finally:
            await journal.close()

    run(folder, main)
    segments = [path.read_text(encoding="utf-8").splitlines() for path in folder.glob("journal/*/*.jsonl")]
    records = [json.loads(line) for lines in segments for line in lines]
    return [record["body"] for record in records if record["kind"] == "admin"]


def changes(home: Trial, item_id: str) -> Sequence[Change]:
    """Everything that changes a conversation or goes on with it."""
    return (
        partial(home.conversations.update, metadata={}),
        home.conversations.delete,
        partial(home.conversations.add_items, items=texts("x")),
        partial(home.conversations.delete_item, item_id=item_id),
        home.conversations.context,
    )


def test_colleagues_read_what_is_shared_and_change_nothing(tmp_path: Path) -> None:
    """Persons and programs of the project read it and its items; each change is refused and says what to do instead."""

    async def trial(shop: Shop) -> None:
        home = shop.home
        begun = await home.begun(ANN, "words", metadata={"title": "Tea"})
        shown = await shop.share(ANN, begun.id)
        assert (shown.shared, shown.mine, shown.owner_name) == (True, True, "Ann")
        items, _ = await home.conversations.list_items(ANN, begun.id, Page())
        for reader in (BOB, APP):
            assert await home.said(reader, begun.id) == ["words"]
            assert (await home.conversations.get(reader, begun.id)).header == {"metadata": {"title": "Tea"}}
            assert await home.conversations.get_item(reader, begun.id, items[0]["id"]) == items[0]
            assert await home.conversations.find(reader, items[0]["id"]) == items[0]
            told = await shop.sharing.get(reader, begun.id)
            assert (told.shared, told.mine, told.owner_name) == (True, False, "Ann")
            refused: Sequence[Change] = [
                *changes(home, items[0]["id"]),
                shop.share,
                partial(shop.share, shared=False),
            ]
            for change in refused:
                with pytest.raises(Forbidden, match=f"POST /v1/conversations/{begun.id}/fork"):
                    await change(reader, begun.id)
        assert await home.said(ANN, begun.id) == ["words"]
        copy, _ = await home.conversations.fork(BOB, begun.id, None, None)
        await home.conversations.add_items(BOB, copy.id, texts("more"))
        assert await home.said(BOB, copy.id) == ["words", "more"]
        with pytest.raises(NotFound):
            await home.conversations.get(ANN, copy.id)

    run_shop(tmp_path, trial)


def test_sharing_leaves_what_is_said_of_it_alone(tmp_path: Path) -> None:
    """A title that is written while it is being shared stays."""

    async def trial(shop: Shop) -> None:
        home = shop.home
        begun = await home.begun(ANN, metadata={"title": "old"})
        before = await home.conversations.owned(ANN, begun.id)
        await home.conversations.update(ANN, begun.id, {"title": "new"})
        await home.conversations.share(before, shared=True)
        assert (await home.conversations.get(BOB, begun.id)).header == {"metadata": {"title": "new"}}

    run_shop(tmp_path, trial)


def test_to_others_a_shared_conversation_does_not_exist(tmp_path: Path) -> None:
    """Other projects and organizations get a 404 for reading and for changing, and a list without it."""

    async def trial(shop: Shop) -> None:
        begun = await shop.home.begun(ANN, "words")
        await shop.share(ANN, begun.id)
        for outsider in OUTSIDERS.values():
            for ask in (*changes(shop.home, "msg_0"), shop.share, shop.sharing.get, shop.home.conversations.get):
                with pytest.raises(NotFound):
                    await ask(outsider, begun.id)
            assert await listed(shop.home.conversations, outsider, ConversationQuery(shared=True)) == []
        no_reader = replace(BOB, actions=frozenset({Action.WRITE_CONVERSATIONS}))
        for ask in (shop.home.conversations.get, shop.sharing.get):
            with pytest.raises(Forbidden, match="conversations:read"):
                await ask(no_reader, begun.id)

    run_shop(tmp_path, trial)


def test_what_is_shared_no_more_is_not_there_for_colleagues(tmp_path: Path) -> None:
    """They get the 404 of before at once; what they copied stays theirs."""

    async def trial(shop: Shop) -> None:
        home = shop.home
        begun = await home.begun(ANN, "words")
        await shop.share(ANN, begun.id)
        copy, _ = await home.conversations.fork(BOB, begun.id, None, None)
        assert not (await shop.share(ANN, begun.id, shared=False)).shared
        for ask in (*changes(home, "msg_0"), shop.sharing.get, home.conversations.get):
            with pytest.raises(NotFound):
                await ask(BOB, begun.id)
        assert await home.said(BOB, copy.id) == ["words"]

    run_shop(tmp_path, trial)


def test_each_lists_their_own_and_asks_for_what_others_share(tmp_path: Path) -> None:
    """What is shared is in its owner's list and, where it is asked for, in everybody else's, page by page."""

    async def trial(shop: Shop) -> None:
        home, own = shop.home, ConversationQuery(1)
        first, second, private = await home.begun(ANN, "a"), await home.begun(ANN, "b"), await home.begun(ANN, "a")
        bobs, program = await home.begun(BOB, "c"), await home.begun(APP, "d")
        for begun in (first, second):
            await shop.share(ANN, begun.id)
        await shop.share(BOB, bobs.id)
        shared = replace(own, shared=True)
        assert await listed(home.conversations, ANN, own) == [private.id, second.id, first.id]
        assert await listed(home.conversations, BOB, own) == [bobs.id]
        assert await listed(home.conversations, APP, own) == [program.id]
        assert await listed(home.conversations, ANN, shared) == [bobs.id]
        assert await listed(home.conversations, BOB, shared) == [second.id, first.id]
        assert await listed(home.conversations, APP, shared) == [bobs.id, second.id, first.id]
        assert await listed(home.conversations, BOB, replace(shared, text="A")) == [first.id]

    run_shop(tmp_path, trial)


def test_a_programs_conversation_is_shared_anyway(tmp_path: Path) -> None:
    """It tells so, everybody may change it, and there is nothing to share or to end."""

    async def trial(shop: Shop) -> None:
        begun = await shop.home.begun(APP, "words")
        for principal in (APP, ANN):
            told = await shop.sharing.get(principal, begun.id)
            assert (told.shared, told.mine) == (True, True)
            for shared in (True, False):
                with pytest.raises(Conflict):
                    await shop.share(principal, begun.id, shared=shared)

    assert run_shop(tmp_path, trial) == []


def test_each_change_is_recorded_once(tmp_path: Path) -> None:
    """Sharing and ending it are administrative records with ids and no words; what is so already is none."""

    async def trial(shop: Shop) -> None:
        begun = await shop.home.begun(ANN, "words", metadata={"title": "words"})
        for shared in (False, True, True, False, False):
            await shop.share(ANN, begun.id, shared=shared)

    records = run_shop(tmp_path, trial)
    assert [record["event"] for record in records] == ["conversation.shared", "conversation.unshared"]
    for record in records:
        told = {name: record[name] for name in ("principal", "resource_type", "resource_project_id", "request_id")}
        assert told == {
            "principal": "ann",
            "resource_type": "conversation",
            "resource_project_id": "proj_a",
            "request_id": "req_1",
        }
        assert "words" not in json.dumps(record)


def test_shared_ones_are_found_without_looking_at_all_there_are(tmp_path: Path) -> None:
    """SQLite takes as many steps for a page of them where others have 1,000 private ones as where they have ten."""
    found = []
    for count in (10, 1000):

        async def trial(shop: Shop, count: int = count) -> None:
            for number in range(count):
                begun = await shop.home.begun(ANN)
                if number < 5:
                    await shop.share(ANN, begun.id)

        folder = tmp_path / str(count)
        folder.mkdir()
        run_shop(folder, trial)
        reader = Reader("org", "proj_a", "bob", Clock.now)
        query = page_of_holders(CONVERSATION_TABLES, reader, Page(3), *shared_by_others(BOB))
        found.append(steps(folder / "freehold.db", query))
    assert 0 < found[1] <= 2 * found[0]
