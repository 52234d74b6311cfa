"""Looking for words in conversations."""

from dataclasses import replace
from pathlib import Path

import pytest

from freehold.gateway.conversation_search import BYTES, BYTES_OF_ONE, LOOKED_AT
from freehold.types.conversations import ConversationQuery
from tests.gateway.conversing import ANN, BOB, ITEMS, Trial, listed, run, texts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("darjeeling", [0]),
        ("DARJEELING tea", [0]),
        ("straße", [1]),
        ("STRASSE", [1]),
        ("cafe\u0301", [2]),
        ("refused", [3]),
        ("kettle", [4, 0]),
        ("colour", []),
        ("label", []),
        ("arguments", []),
        ("input_text", []),
    ],
)
def test_words_are_found_in_what_is_said_and_in_values_of_metadata(tmp_path: Path, text: str, found: list[int]) -> None:
    """Whatever the case and the form of their letters; not in keys, in calls of functions or in the JSON around."""

    async def trial(home: Trial) -> None:
        said = [
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "That is refused."}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"arguments": "colour"}'},
        ]
        begun = [
            await home.begun(ANN, "Which kettle?", "Darjeeling tea."),
            await home.begun(ANN, "Wo ist die Straße?"),
            await home.begun(ANN, "Caf\u00e9 au lait"),
            await home.conversations.create(ANN, {}, ITEMS.validate_python(said)),
            await home.begun(ANN, metadata={"label": "The Kettle"}),
            await home.begun(BOB, "darjeeling", "straße", "refused", "kettle"),
        ]
        for limit in (1, 20):
            query = ConversationQuery(limit, text=text)
            assert await listed(home.conversations, ANN, query) == [begun[n].id for n in found]

    run(tmp_path, trial)


def test_words_and_metadata_have_to_fit(tmp_path: Path) -> None:
    """With both only conversations come that have the pairs and the words."""

    async def trial(home: Trial) -> None:
        both = await home.begun(ANN, "tea", metadata={"folder": "a"})
        await home.begun(ANN, "tea", metadata={"folder": "b"})
        await home.begun(ANN, "coffee", metadata={"folder": "a"})
        query = ConversationQuery(text="tea", metadata={"folder": "a"})
        assert await listed(home.conversations, ANN, query) == [both.id]

    run(tmp_path, trial)


def test_one_request_looks_into_so_many_conversations(tmp_path: Path) -> None:
    """The page ends there and says where to go on, and going on finds what is behind."""

    async def trial(home: Trial) -> None:
        wanted = await home.begun(ANN, "the needle")
        others = [(await home.begun(ANN, "hay")).id for _ in range(LOOKED_AT)]
        query = ConversationQuery(text="needle")
        page = await home.conversations.list(ANN, query)
        assert (page.found, page.more, page.last) == ([], True, others[0])
        page = await home.conversations.list(ANN, replace(query, after=page.last))
        assert ([each.id for each in page.found], page.more) == ([wanted.id], False)

    run(tmp_path, trial)


def test_one_request_decrypts_so_much(tmp_path: Path) -> None:
    """Of a long conversation the newest part is looked at; after so many bytes the page ends, and the next goes on."""

    async def trial(home: Trial) -> None:
        wanted = await home.begun(ANN, "the needle")
        million = "x" * 1_000_000
        long = []
        for _ in range(BYTES // BYTES_OF_ONE + 1):
            begun = await home.begun(ANN, "the needle in a haystack")
            for _ in range(BYTES_OF_ONE // 1_000_000 + 1):
                await home.conversations.add_items(ANN, begun.id, texts(million))
            long.append(begun.id)
        query = ConversationQuery(text="needle")
        page = await home.conversations.list(ANN, query)
        assert (page.found, page.more, page.last) == ([], True, long[1])
        assert await listed(home.conversations, ANN, query) == [wanted.id]
        await home.conversations.add_items(ANN, long[0], texts("a newer needle"))
        assert await listed(home.conversations, ANN, query) == [long[0], wanted.id]

    run(tmp_path, trial)
