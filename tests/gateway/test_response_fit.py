"""Leaving out what a model cannot read as well."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.gateway.bounds import BYTES_PER_TOKEN
from freehold.gateway.items import message
from freehold.gateway.response_fit import fitted, without
from freehold.gateway.response_input import Item, chat_request
from freehold.types.chat import ChatRequest
from freehold.types.responses import ResponseRequest

REQUEST = ResponseRequest.model_validate({"model": "m", "input": "x"})


def question(items: Sequence[Item]) -> ChatRequest:
    """What the model is asked."""
    return chat_request(REQUEST, items, [], None, stream=False)


def words(request: ChatRequest) -> int:
    """A token is a word, and each message has one more."""
    texts = [entry.get("content") or "" for entry in request.model_dump(mode="json")["messages"]]
    return sum(1 + len(text.split()) for text in texts)


def fit(items: Sequence[Item], window: int, *, reserve: int | None = 1, counts: bool = True) -> list[Item]:
    """The items that are left for a model of so many tokens."""

    async def count(request: ChatRequest) -> tuple[int | None, int | None]:
        return (words(request) if counts else None), window

    return list(asyncio.run(fitted(items, question, count, reserve)))


def call(name: str) -> dict[str, Any]:
    """A call of a function."""
    return {"type": "function_call", "id": f"fc_{name}", "call_id": name, "name": "f", "arguments": "{}"}


def answer(name: str, text: str = "done") -> dict[str, Any]:
    """What a call gave."""
    return {"type": "function_call_output", "id": f"fco_{name}", "call_id": name, "output": text}


TALK = [message("Be brief.", "system"), *(message(f"number {number}") for number in range(10))]


def test_what_fits_stays() -> None:
    """A conversation that the model can read is asked as it is."""
    assert fit(TALK, 1000) == TALK


@pytest.mark.parametrize(("window", "left"), [(34, 10), (33, 9), (10, 2), (7, 1), (1, 1)])
def test_as_few_as_possible_of_the_oldest_go(window: int, left: int) -> None:
    """The system's words and the newest item stay, whatever the model can read; of the others the oldest go."""
    assert fit(TALK, window) == [TALK[0], *TALK[len(TALK) - left :]]


def test_what_the_system_says_in_the_middle_stays() -> None:
    """Words of the system and of the developer are not left out, wherever they stand."""
    items = [
        message("a b c"),
        message("Rule.", "developer"),
        message("d e f"),
        message("Rule two.", "system"),
        message("g"),
    ]
    assert fit(items, 8) == [items[1], items[3], items[4]]


def test_room_is_left_for_the_answer() -> None:
    """What the answer may be long is kept free, at most half of what the model reads."""
    assert fit(TALK, 34, reserve=1) == TALK
    assert len(fit(TALK, 34, reserve=4)) == len(TALK) - 1
    assert fit(TALK, 34, reserve=10_000) == fit(TALK, 34, reserve=17)
    assert fit(TALK, 68, reserve=None) == fit(TALK, 68, reserve=34)


def test_answers_of_calls_go_with_them() -> None:
    """No answer is left to a call that the model does not see."""
    items = [call("one"), call("two"), answer("two"), answer("one"), message("thanks")]
    assert without(items, [0]) == [items[1], items[2], items[4]]
    assert without(items, [0, 1]) == [items[4]]


def test_the_newest_answers_stay_with_their_calls() -> None:
    """Where the newest items answer calls, all of these stay, however little the model can read."""
    items = [
        message("what is the weather"),
        call("one"),
        call("two"),
        answer("one", "rain"),
        answer("two", "sun and wind"),
    ]
    assert fit(items, 6) == items[1:]
    assert fit(items, 1) == items[1:]


def test_an_engine_that_cannot_count_is_counted_for() -> None:
    """By the length of what is sent; the oldest go as well, and the newest stays."""
    size = len(orjson.dumps(question(TALK).model_dump(mode="json", include={"messages"}))) // BYTES_PER_TOKEN
    assert fit(TALK, size + 1, counts=False) == TALK
    found = fit(TALK, size // 2, counts=False)
    assert found[0] == TALK[0]
    assert found[1:] == TALK[len(TALK) - len(found) + 1 :]
    assert 2 <= len(found) < len(TALK)


ITEMS = st.lists(
    st.one_of(
        st.builds(message, st.sampled_from(["a", "b c", "d e f"]), st.sampled_from(["user", "assistant", "system"])),
        st.builds(call, st.sampled_from("xyz")),
        st.builds(answer, st.sampled_from("xyz")),
    ),
    min_size=1,
    max_size=9,
)


@given(ITEMS, st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_of_any_conversation_the_end_is_read(items: list[dict[str, Any]], window: int) -> None:
    """What is left is in its order, has the newest and the system's words, and something goes only where it must."""
    left = fit(items, window)
    places = [place for place, item in enumerate(items) if any(item is each for each in left)]
    assert [items[place] for place in places] == left
    assert places[-1] == len(items) - 1
    assert all(item in left for item in items if item.get("role") == "system")
    if len(left) < len(items):
        assert words(question(items)) + min(1, window // 2) > window
