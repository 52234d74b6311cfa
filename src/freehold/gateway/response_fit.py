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
    """The items without as many of the oldest as must go; what the system said and the newest item stay.

    Where the newest item answers a call, that stays too.

    Args:
        items: the conversation.
        question: what the model is asked with so much of it.
        count: counts its tokens.
        reserve: how long the answer may be, in tokens, if the request says.
    """
    kept = {len(items) - 1, _asked_at(items)}
    able = [
        place
        for place, item in enumerate(items)
        if place not in kept and item.get("role") not in {"system", "developer"}
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


def _asked_at(items: Sequence[Item]) -> int | None:
    """Where the call is that the newest item answers; None if it answers none."""
    newest = items[-1] if items else {"type": None}
    if newest["type"] != "function_call_output":
        return None
    calls = (place for place, item in enumerate(items) if item["type"] == "function_call")
    return max((place for place in calls if items[place]["call_id"] == newest["call_id"]), default=None)
