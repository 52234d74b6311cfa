"""What an engine makes, written as the items of a response and as the events of its stream.

One writer a response: sequence numbers count from 0 without a gap, whatever comes in between. Each event is an object
of its own, so that it can be kept and sent later.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from freehold.gateway.items import PREFIXES, output_text
from freehold.gateway.response_draft import Draft
from freehold.gateway.response_tool import ServerTool
from freehold.types.generation import Delta, TokenLogprob, ToolCallDelta
from freehold.types.ids import new_id

StreamEvent: TypeAlias = dict[str, Any]
"""One event of a stream (`ResponseStreamEvent`)."""

_ENDS: Final = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}


@dataclass(slots=True)
class ToolCall:
    """A call that the model asks for.

    Args:
        index: of its item in the output.
        item: as far as it is known.
        call_id: what its answer refers to.
        name: of the function, as the model calls it.
        tool: what carries it out here; None where the caller does.
        arguments: JSON text.
        result: what the model is told of it, once it was carried out.
    """

    index: int
    item: dict[str, Any]
    call_id: str
    name: str
    tool: ServerTool | None
    arguments: str = ""
    result: str | None = None


class Writer:
    """Writes one response.

    Args:
        draft: the response.
        tools: finds what carries a function of that name out here; None where the caller does.
        told: whether log probabilities are.
    """

    def __init__(self, draft: Draft, tools: Callable[[str], ServerTool | None], *, logprobs: bool = False) -> None:
        self.draft = draft
        self.sequence = 0
        self._tools = tools
        self._told = logprobs
        self._open: _Text | _Thought | None = None
        self._calls: dict[int, ToolCall] = {}
        self._first = 0
        """Where in the output this turn of the model begins."""

    def event(self, kind: str, **fields: Any) -> StreamEvent:
        """The next event of the stream."""
        number, self.sequence = self.sequence, self.sequence + 1
        return {"type": kind, **fields, "sequence_number": number}

    def opening(self) -> list[StreamEvent]:
        """What every stream begins with."""
        events = [self.event("response.created", response=self.draft.resource())]
        if self.draft.status == "queued":
            events.append(self.event("response.queued", response=self.draft.resource()))
        return events

    def started(self) -> StreamEvent:
        """The work on it begins."""
        self.draft.status = "in_progress"
        return self.event("response.in_progress", response=self.draft.resource())

    def closing(self) -> StreamEvent | None:
        """What every stream ends with; None for a cancelled one, for which the specification has no event."""
        kind = _ENDS.get(self.draft.status)
        return None if kind is None else self.event(kind, response=self.draft.resource())

    def begin_turn(self) -> None:
        """The model is about to be asked, for the first time or with what its calls gave."""
        self._calls = {}
        self._first = len(self.draft.output)

    def take(self, delta: Delta) -> list[StreamEvent]:
        """A piece of what the model makes."""
        events: list[StreamEvent] = []
        if delta.reasoning:
            events += self._opened(_Thought)
            events += self._add(delta.reasoning, ())
        if delta.text or (delta.logprobs and isinstance(self._open, _Text)):
            events += self._opened(_Text)
            events += self._add(delta.text, delta.logprobs if self._told else ())
        for piece in delta.tool_calls:
            events += self._call(piece)
        return events

    def end_turn(self, finish: str) -> list[StreamEvent]:
        """The model has stopped, for this reason."""
        whole = finish in {"stop", "tool_calls"}
        if not whole:
            self.draft.reason = "content_filter" if finish == "content_filter" else "max_output_tokens"
        events: list[StreamEvent] = []
        if not self._calls and self._open is None and len(self.draft.output) == self._first:
            events += self._opened(_Text)
        events += self._closed("completed" if whole else "incomplete")
        for call in self._calls.values():
            events += self.arguments_done(call, whole=whole)
            if call.tool is not None and not whole:
                self.give_up(call, "incomplete")
                events.append(self.done(call.index))
        return events

    def calls(self) -> Sequence[ToolCall]:
        """The calls of this turn, in their order."""
        return list(self._calls.values())

    def cut(self) -> None:
        """The response ends here: what is open stays as it is, and incomplete."""
        end_open(self.draft.output)

    def add(self, item: dict[str, Any]) -> tuple[int, StreamEvent]:
        """A new item of the output, and where it stands."""
        index = len(self.draft.output)
        self.draft.output.append(item)
        return index, self.event("response.output_item.added", output_index=index, item=dict(item))

    def open_call(self, tool: ServerTool, name: str, call_id: str) -> tuple[ToolCall, list[StreamEvent]]:
        """A call of a tool that is carried out here, and what is said of its beginning."""
        item = tool.item()
        index, begun = self.add(item)
        place = {"item_id": item["id"], "output_index": index}
        events = [begun, *(self.event(kind, **place) for kind in tool.opening())]
        return ToolCall(index, item, call_id, name, tool), events

    def give_up(self, call: ToolCall, status: str) -> None:
        """A call is not carried out: its item has what the model wrote, be it whole or not, and this status."""
        if "arguments" in call.item:
            call.item["arguments"] = call.arguments
        if "status" in call.item:
            call.item["status"] = "failed" if call.item["type"] == "image_generation_call" else status

    def done(self, index: int) -> StreamEvent:
        """An item is as it stays."""
        return self.event("response.output_item.done", output_index=index, item=dict(self.draft.output[index]))

    def _opened(self, kind: "type[_Text | _Thought]") -> list[StreamEvent]:
        """See that what is open is of this kind."""
        if isinstance(self._open, kind):
            return []
        events = self._closed("completed")
        self._open = kind(self)
        return [*events, *self._open.begin()]

    def _add(self, piece: str, tokens: Sequence[TokenLogprob]) -> list[StreamEvent]:
        assert self._open is not None, "it was opened"
        return self._open.add(piece, tokens)

    def _closed(self, status: str) -> list[StreamEvent]:
        """End what is open."""
        found, self._open = self._open, None
        return [] if found is None else found.end(status)

    def _call(self, piece: ToolCallDelta) -> list[StreamEvent]:
        events = self._closed("completed")
        call = self._calls.get(piece.index)
        if call is None:
            call, begun = self._new_call(piece)
            self._calls[piece.index] = call
            events += begun
        call.arguments += piece.arguments
        kind = "function_call_arguments" if call.tool is None else call.tool.arguments_event
        if kind is not None and piece.arguments:
            call.item["arguments"] = call.arguments
            place = {"item_id": call.item["id"], "output_index": call.index}
            events.append(self.event(f"response.{kind}.delta", **place, delta=piece.arguments))
        return events

    def _new_call(self, piece: ToolCallDelta) -> tuple[ToolCall, list[StreamEvent]]:
        name, call_id = piece.name or "", piece.id or new_id("call_")
        tool = self._tools(name)
        if tool is not None:
            return self.open_call(tool, name, call_id)
        item: dict[str, Any] = {"type": "function_call", "id": new_id(PREFIXES["function_call"])}
        item |= {"call_id": call_id, "name": name, "arguments": "", "status": "in_progress"}
        index, begun = self.add(item)
        return ToolCall(index, item, call_id, name, None), [begun]

    def arguments_done(self, call: ToolCall, *, whole: bool) -> list[StreamEvent]:
        """All arguments of a call are there, or all that there will be."""
        kind = "function_call_arguments" if call.tool is None else call.tool.arguments_event
        place: dict[str, Any] = {"item_id": call.item["id"], "output_index": call.index}
        events = []
        if kind is not None:
            call.item["arguments"] = call.arguments
            named = {"name": call.name} if call.tool is None else {}
            events.append(self.event(f"response.{kind}.done", **place, **named, arguments=call.arguments))
        if call.tool is None:
            call.item["status"] = "completed" if whole else "incomplete"
            events.append(self.done(call.index))
        return events


def end_open(items: Iterable[dict[str, Any]]) -> None:
    """Let items that were being made stay as they are, and say so."""
    for item in items:
        if item.get("status") in {"in_progress", "generating"}:
            item["status"] = "failed" if item["type"] == "image_generation_call" else "incomplete"


class _Part(ABC):
    """A text that is being written into an item."""

    delta_event: str
    done_event: str

    def __init__(self, writer: Writer, item: dict[str, Any]) -> None:
        self.writer = writer
        self.item = item
        self.index = -1
        self.text = ""
        self.tokens: list[TokenLogprob] = []

    def begin(self) -> list[StreamEvent]:
        """What is said before the first piece."""
        self.index, event = self.writer.add(self.item)
        return [event, self._said("response.content_part.added", part=self.part())]

    def add(self, piece: str, tokens: Sequence[TokenLogprob]) -> list[StreamEvent]:
        """A piece."""
        self.text += piece
        self.tokens += tokens
        self.item["content"] = [self.part()]
        return [self._said(self.delta_event, delta=piece, **self.logprobs(tokens))]

    def end(self, status: str) -> list[StreamEvent]:
        """All of it is there."""
        events = [
            self._said(self.done_event, text=self.text, **self.logprobs(self.tokens)),
            self._said("response.content_part.done", part=self.part()),
        ]
        self.item |= {"content": [self.part()], "status": status}
        return [*events, self.writer.done(self.index)]

    @abstractmethod
    def part(self) -> dict[str, Any]:
        """The text as a part of its item."""

    @abstractmethod
    def logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        """What events say of log probabilities."""

    def _said(self, kind: str, **fields: Any) -> StreamEvent:
        place = {"item_id": self.item["id"], "output_index": self.index, "content_index": 0}
        return self.writer.event(kind, **place, **fields)


class _Text(_Part):
    """What the assistant says."""

    delta_event = "response.output_text.delta"
    done_event = "response.output_text.done"

    def __init__(self, writer: Writer) -> None:
        item = {"type": "message", "id": new_id(PREFIXES["message"]), "status": "in_progress"}
        super().__init__(writer, item | {"role": "assistant", "content": []})

    def part(self) -> dict[str, Any]:
        """See `_Part.part`."""
        return output_text(self.text) | {"logprobs": [_token(token, whole=True) for token in self.tokens]}

    def logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        """See `_Part.logprobs`."""
        return {"logprobs": [_token(token, whole=False) for token in tokens]}


class _Thought(_Part):
    """What the model thinks before it answers."""

    delta_event = "response.reasoning_text.delta"
    done_event = "response.reasoning_text.done"

    def __init__(self, writer: Writer) -> None:
        item = {"type": "reasoning", "id": new_id(PREFIXES["reasoning"]), "status": "in_progress"}
        super().__init__(writer, item | {"summary": [], "content": []})

    def part(self) -> dict[str, Any]:
        """See `_Part.part`."""
        return {"type": "reasoning_text", "text": self.text}

    def logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:  # noqa: ARG002  # see `_Part`
        """See `_Part.logprobs`."""
        return {}


def _token(token: TokenLogprob, *, whole: bool) -> dict[str, Any]:
    """A token's log probability: with bytes in items (`LogProb`), without in events (`ResponseLogProb`)."""

    def one(text: str, value: float, data: tuple[int, ...] | None) -> dict[str, Any]:
        found: dict[str, Any] = {"token": text, "logprob": value}
        if whole:
            found["bytes"] = list(data if data is not None else text.encode("utf-8", "surrogatepass"))
        return found

    top = [one(each.token, each.logprob, each.bytes) for each in token.top]
    return one(token.token, token.logprob, token.bytes) | {"top_logprobs": top}
