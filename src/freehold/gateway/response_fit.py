"""Shortens a conversation to what a model can read: `truncation` set to `auto`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import orjson

from freehold.gateway.bounds import BYTES_PER_TOKEN, UNKNOWN_CONTEXT
from freehold.gateway.response_input import Item
from freehold.types.chat import ChatRequest

Count: TypeAlias = Callable[[ChatRequest], Awaitable[tuple[int | None, int | None]]]
"""The tokens of a conversation's prompt, and the model's context length; None for what is not known."""

RESERVE: Final = 256
"""Tokens that are left for the answer where the request does not say how long it may be."""


async def fitted(
    items: Sequence[Item], question: Callable[[Sequence[Item]], ChatRequest], count: Count, reserve: int | None
) -> Sequence[Item]:
    """The items without as many of the oldest as must go. What the system said stays, and what the model is to answer.

    Args:
        items: the conversation.
        question: what the model is asked with so much of it.
        count: counts its tokens.
        reserve: how long the answer may be, in tokens, if the request says.
    """
    stays = _newest(items)
    able = [
        place
        for place, item in enumerate(items)
        if place not in stays and item.get("role") not in {"system", "developer"}
    ]

    async def fits(dropped: int) -> bool:
        request = question(without(items, able[:dropped]))
        tokens, context = await count(request)
        window = context or UNKNOWN_CONTEXT
        if tokens is None:
            tokens = len(orjson.dumps(request.model_dump(mode="json", include={"messages"}))) // BYTES_PER_TOKEN
        return tokens + min(reserve or RESERVE, window // 2) <= window

    if await fits(0):
        return items
    least, most = 1, len(able)
    while least < most:
        middle = (least + most) // 2
        if await fits(middle):
            most = middle
        else:
            least = middle + 1
    return without(items, able[:most])


def _newest(items: Sequence[Item]) -> set[int]:
    """The places of what the model is to answer: the last item, or the last answers of tools with their calls."""
    first = len(items)
    while first > 0 and items[first - 1]["type"] == "function_call_output":
        first -= 1
    first = min(first, len(items) - 1)
    answered = {item["call_id"] for item in items[first:] if item["type"] == "function_call_output"}
    calls = {
        place for place, item in enumerate(items) if item["type"] == "function_call" and item["call_id"] in answered
    }
    return calls | set(range(first, len(items)))


def without(items: Sequence[Item], places: Sequence[int]) -> list[Item]:
    """The items but for some, and but for answers to calls that are among these."""
    gone = set(places)
    calls: dict[str, int] = {}
    for place, item in enumerate(items):
        if item["type"] == "function_call":
            calls[item["call_id"]] = place
        elif item["type"] == "function_call_output" and calls.get(item["call_id"]) in gone:
            gone.add(place)
    return [item for place, item in enumerate(items) if place not in gone]
