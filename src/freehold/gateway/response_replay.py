"""What a response had come to, told from the events of its stream: for one whose making was interrupted."""

from collections.abc import AsyncIterable
from typing import Any, Final

from freehold.gateway.items import output_text
from freehold.gateway.response_writer import StreamEvent, end_open

_TEXTS: Final = {"response.output_text.delta", "response.reasoning_text.delta"}
_ARGUMENTS: Final = {"response.function_call_arguments.delta", "response.mcp_call_arguments.delta"}


async def output_of(events: AsyncIterable[StreamEvent]) -> list[dict[str, Any]]:
    """The items that the events tell of, those that were not finished as far as they had come."""
    items: dict[int, dict[str, Any]] = {}
    texts: dict[int, str] = {}
    async for event in events:
        kind, index = event["type"], event.get("output_index", -1)
        if kind in {"response.output_item.added", "response.output_item.done"}:
            items[index] = dict(event["item"])
        elif kind in _TEXTS:
            texts[index] = texts.get(index, "") + event["delta"]
            items[index]["content"] = [_part(kind, texts[index])]
        elif kind in _ARGUMENTS:
            items[index]["arguments"] += event["delta"]
    found = [items[index] for index in sorted(items)]
    end_open(found)
    return found


def _part(kind: str, text: str) -> dict[str, Any]:
    return output_text(text) if kind == "response.output_text.delta" else {"type": "reasoning_text", "text": text}
