"""Lists of conversations and of their items: order, pages and filters."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from freehold.errors import InvalidRequest
from freehold.gateway.conversations import LOOKED_AT, owned
from freehold.store.kept_items import CONVERSATION_TABLES, Page, Reader, page_of_holders
from freehold.types.conversations import ConversationQuery
from freehold.types.identity import Principal
from tests.gateway.conversing import ANN, APP, Clock, Trial, listed, run, texts
from tests.gateway.test_item_store import steps


def test_lists_are_in_order_and_in_pages(tmp_path: Path) -> None:
    """Conversations are listed newest first or oldest first, page by page, each once; a strange `after` is refused."""

    async def trial(home: Trial) -> None:
        made = [(await home.begun(ANN)).id for _ in range(7)]
        for limit in (1, 2, 3, 7, 20):
            query = ConversationQuery(limit)
            assert await listed(home.conversations, ANN, query) == made[::-1]
            assert await listed(home.conversations, ANN, replace(query, newest_first=False)) == made
        await home.conversations.delete(ANN, made[3])
        page = await home.conversations.list(ANN, ConversationQuery(2, after=made[3]))
        assert [each.id for each in page.found] == [made[2], made[1]]
        with pytest.raises(InvalidRequest) as refused:
            await home.conversations.list(ANN, ConversationQuery(after="file-1"))
        assert refused.value.param == "after"

    run(tmp_path, trial)


def test_lists_are_filtered_by_metadata(tmp_path: Path) -> None:
    """Only those come that have all of the pairs, however they lie between others, page by page."""

    async def trial(home: Trial) -> None:
        made = [
            (await home.begun(ANN, metadata={"place": "here" if n % 5 else "there", "number": str(n % 2)})).id
            for n in range(20)
        ]
        for limit in (1, 3, 20):
            query = ConversationQuery(limit, metadata={"place": "there"})
            assert await listed(home.conversations, ANN, query) == [made[n] for n in (15, 10, 5, 0)]
            query = replace(query, metadata={"place": "there", "number": "1"}, newest_first=False)
            assert await listed(home.conversations, ANN, query) == [made[5], made[15]]
        assert await listed(home.conversations, ANN, ConversationQuery(metadata={"place": "nowhere"})) == []

    run(tmp_path, trial)


def test_one_request_does_not_look_at_everything(tmp_path: Path) -> None:
    """After a thousand conversations the page ends and says where to go on, and going on finds what is behind."""

    async def trial(home: Trial) -> None:
        wanted = await home.begun(ANN, metadata={"wanted": "yes"})
        others = [(await home.begun(ANN)).id for _ in range(LOOKED_AT)]
        query = ConversationQuery(metadata={"wanted": "yes"})
        page = await home.conversations.list(ANN, query)
        assert (page.found, page.more, page.last) == ([], True, others[0])
        page = await home.conversations.list(ANN, replace(query, after=page.last))
        assert ([each.id for each in page.found], page.more) == ([wanted.id], False)
        page = await home.conversations.list(ANN, replace(query, newest_first=False))
        assert ([each.id for each in page.found], page.more) == ([wanted.id], True)

    run(tmp_path, trial)


@pytest.mark.parametrize("principal", [ANN, APP], ids=["a person's", "a program's"])
def test_a_page_is_found_without_looking_at_all_there_is(tmp_path: Path, principal: Principal) -> None:
    """SQLite takes as many steps for a page where programs have 5,000 conversations, older and newer, as for ten."""

    async def trial(home: Trial, count: int) -> None:
        for _ in range(3):
            await home.begun(ANN)
        row = (await home.begun(APP)).row
        rows = [replace(row, id=f"conv_{'0f'[n % 2]}{n}").values() for n in range(count)]
        async with home.database.write() as connection:
            await connection.execute(insert(CONVERSATION_TABLES.holders), rows)

    reader = Reader("org", "proj_a", principal.id, Clock.now)
    query = page_of_holders(CONVERSATION_TABLES, reader, Page(3), owned(principal))
    found = []
    for count in (10, 5000):
        folder = tmp_path / str(count)
        folder.mkdir()
        run(folder, partial(trial, count=count))
        found.append(steps(folder / "freehold.db", query))
    assert 0 < found[1] <= 2 * found[0]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 5)),
        st.tuples(st.just("remove"), st.integers(0, 30)),
        st.tuples(st.just("list"), st.integers(1, 6)),
    ),
    max_size=20,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_any_history_reads_as_a_list_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """After any adding and removing, pages of any size, forth and back, have what a list in memory has."""

    async def pages(home: Trial, conversation_id: str, size: int, *, newest_first: bool) -> list[str]:
        seen: list[str] = []
        more = True
        while more:
            page = Page(size, newest_first, seen[-1] if seen else None)
            found, more = await home.conversations.list_items(ANN, conversation_id, page)
            assert len(found) == size or not more
            seen += [item["id"] for item in found]
        return seen

    async def trial(home: Trial) -> None:
        begun, other = await home.begun(ANN), await home.begun(ANN, "elsewhere")
        model: list[str] = []
        for step, number in [*steps, ("list", 2)]:
            if step == "add":
                made = await home.conversations.add_items(ANN, begun.id, texts(*["x"] * number))
                model += [item["id"] for item in made]
            elif step == "remove" and model:
                await home.conversations.delete_item(ANN, begun.id, model.pop(number % len(model)))
            elif step == "list":
                assert await pages(home, begun.id, number, newest_first=False) == model
                assert await pages(home, begun.id, number, newest_first=True) == model[::-1]
        assert await home.said(ANN, other.id) == ["elsewhere"]

    run(tmp_path_factory.mktemp("home"), trial)
