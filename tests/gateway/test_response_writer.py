"""What an engine makes, as the events and the items of a response."""

import copy
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.gateway.remote_session import SecretHeaders
from freehold.gateway.remote_tools import RemoteServer
from freehold.gateway.response_draft import Draft
from freehold.gateway.response_input import functions
from freehold.gateway.response_mcp import McpQuestion
from freehold.gateway.response_tool import ServerTool
from freehold.gateway.response_writer import StreamEvent, ToolCall, Writer
from freehold.types.chat import Tool
from freehold.types.generation import Delta, FinishReason, TokenLogprob, ToolCallDelta, TopLogprob
from freehold.types.ids import new_id
from freehold.types.mcp import McpServerSettings, McpTool, RemoteTool
from freehold.types.responses import ResponseRequest

REQUEST = ResponseRequest.model_validate(
    {"model": "m", "input": "x", "tools": [{"type": "function", "name": "here"}, {"type": "function", "name": "f"}]}
)
SERVER = RemoteServer(
    McpServerSettings(label="docs", url="https://tools.example.org/mcp"),
    McpTool(type="mcp", server_label="docs"),
    SecretHeaders({}),
)
TEXTS = {
    "response.output_text": "text",
    "response.reasoning_text": "text",
    "response.function_call_arguments": "arguments",
    "response.mcp_call_arguments": "arguments",
}
"""What is put together from pieces, and where the end of it stands."""


class Here(ServerTool):
    """A tool that is carried out here: it gives back what it is told."""

    arguments_event = "mcp_call_arguments"

    def function(self) -> Tool:
        """See `ServerTool.function`."""
        return functions(REQUEST)[0]

    def item(self) -> dict[str, Any]:
        """See `ServerTool.item`."""
        return {"type": "mcp_call", "id": new_id("mcp_"), "name": "here", "arguments": "", "status": "in_progress"}

    def opening(self) -> tuple[str, ...]:
        """See `ServerTool.opening`."""
        return ("response.mcp_call.in_progress",)

    async def run(self, call: ToolCall, writer: Writer) -> AsyncGenerator[StreamEvent]:
        """See `ServerTool.run`."""
        call.result = call.arguments
        yield writer.event("response.mcp_call.completed", item_id=call.item["id"], output_index=call.index)


@dataclass
class Told:
    """Events as they were when they were made, and as they are now."""

    events: list[StreamEvent] = field(default_factory=list)
    then: list[StreamEvent] = field(default_factory=list)

    def add(self, events: Sequence[StreamEvent]) -> None:
        """Take events."""
        self.events += events
        self.then += copy.deepcopy(list(events))

    def of(self, kind: str) -> list[StreamEvent]:
        """The events of a type."""
        return [event for event in self.events if event["type"] == kind]


def writer_of(*, logprobs: bool = False) -> tuple[Writer, Told]:
    """A writer that has begun, and what it said."""
    writer, told = (
        Writer(Draft(REQUEST, "resp_1", "m"), lambda n: Here() if n == "here" else None, logprobs=logprobs),
        Told(),
    )
    told.add([*writer.opening(), writer.started()])
    return writer, told


def write(turns: Sequence[tuple[Sequence[Delta], str]], *, logprobs: bool = False) -> tuple[Writer, Told]:
    """A response of these turns: what the model made in each, and why it stopped."""
    writer, told = writer_of(logprobs=logprobs)
    for deltas, finish in turns:
        writer.begin_turn()
        for delta in deltas:
            told.add(writer.take(delta))
        told.add(writer.end_turn(finish))
        if writer.draft.reason is None:
            for call in writer.calls():
                if call.tool is not None:
                    call.item["status"] = "completed"
                    told.add([writer.done(call.index)])
    writer.draft.complete()
    last = writer.closing()
    assert last is not None
    told.add([last])
    return writer, told


PIECES = st.text(st.characters(codec="utf-8"), max_size=4)


@st.composite
def turns(draw: st.DrawFn) -> list[tuple[list[Delta], str]]:
    """What models make in one response: texts, thoughts and calls in any order, the last turn cut off or not."""
    found: list[tuple[list[Delta], str]] = []
    for _ in range(draw(st.integers(1, 3))):
        begun: set[int] = set()
        deltas = []
        for _ in range(draw(st.integers(0, 8))):
            what = draw(st.sampled_from(["text", "reasoning", "call", "both"]))
            calls: tuple[ToolCallDelta, ...] = ()
            if what in {"call", "both"}:
                index = draw(st.integers(0, 2))
                name = None if index in begun else draw(st.sampled_from(["f", "here", "other"]))
                number = None if index in begun else f"call_{len(found)}_{index}"
                calls = (ToolCallDelta(index, number, name, draw(PIECES)),)
                begun.add(index)
            said = draw(PIECES) if what in {"text", "both"} else ""
            thought = draw(PIECES) if what in {"reasoning", "both"} else ""
            deltas.append(Delta(text=said, reasoning=thought, tool_calls=calls))
        found.append((deltas, "tool_calls" if begun else "stop"))
    last: FinishReason = draw(st.sampled_from(["stop", "length", "content_filter", "tool_calls"]))
    return [*found[:-1], (found[-1][0], last)]


@given(turns())
@settings(max_examples=200, deadline=None)
def test_events_tell_exactly_what_the_response_has(made: list[tuple[list[Delta], str]]) -> None:
    """Whatever comes in whichever order: numbers without a gap, pieces that make the whole, each item done once."""
    writer, told = write(made)
    assert told.events == told.then, "no event is changed by what comes later"
    assert [event["sequence_number"] for event in told.events] == list(range(len(told.events)))
    output = told.events[-1]["response"]["output"]
    assert output == writer.draft.output
    assert [event["output_index"] for event in told.of("response.output_item.added")] == list(range(len(output)))
    done = {event["output_index"]: event["item"] for event in told.of("response.output_item.done")}
    assert len(told.of("response.output_item.done")) == len(done) == len(output)
    assert [done[index] for index in range(len(output))] == output
    assert not [item for item in output if item.get("status") == "in_progress"]
    assert len({item["id"] for item in output}) == len(output)
    for kind, end in TEXTS.items():
        ended = told.of(f"{kind}.done")
        assert len({event["item_id"] for event in ended}) == len(ended)
        for event in ended:
            pieces = [each["delta"] for each in told.of(f"{kind}.delta") if each["item_id"] == event["item_id"]]
            assert "".join(pieces) == event[end]
            item = output[event["output_index"]]
            assert event[end] == (item["arguments"] if end == "arguments" else item["content"][0]["text"])
        assert {event["item_id"] for event in told.of(f"{kind}.delta")} <= {event["item_id"] for event in ended}


@given(turns())
@settings(max_examples=100, deadline=None)
def test_nothing_that_was_made_is_lost(made: list[tuple[list[Delta], str]]) -> None:
    """All texts, thoughts and arguments of the engine stand in the items, in their order."""
    output = write(made)[0].draft.output
    everything = [delta for deltas, _ in made for delta in deltas]
    for kind, sent in (
        ("message", "".join(delta.text for delta in everything)),
        ("reasoning", "".join(delta.reasoning for delta in everything)),
    ):
        assert "".join(item["content"][0]["text"] for item in output if item["type"] == kind) == sent
    wanted: list[str] = []
    for deltas, _ in made:
        calls: dict[int, str] = {}
        for piece in (piece for delta in deltas for piece in delta.tool_calls):
            calls[piece.index] = calls.get(piece.index, "") + piece.arguments
        wanted += calls.values()
    assert [item["arguments"] for item in output if item["type"] in {"function_call", "mcp_call"}] == wanted


@given(turns(), st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_what_is_cut_is_not_in_progress(made: list[tuple[list[Delta], str]], at: int) -> None:
    """Wherever it ends, what was open is incomplete, what was done stays done, and no event is changed."""
    writer, told = writer_of()
    left = at
    for deltas, finish in made:
        writer.begin_turn()
        for delta in deltas[:left]:
            told.add(writer.take(delta))
        left -= len(deltas)
        if left < 0:
            break
        told.add(writer.end_turn(finish))
    done = {event["output_index"]: event["item"] for event in told.of("response.output_item.done")}
    writer.cut()
    assert {item.get("status") for item in writer.draft.output} <= {"completed", "incomplete"}
    assert all(writer.draft.output[index] == item for index, item in done.items())
    assert told.events == told.then
    writer.draft.cancel()
    assert writer.closing() is None, "the specification has no event for it"


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_why_the_model_stopped_is_told(finish: str, status: str, reason: str | None) -> None:
    """The last event is of the kind of the end, the response says why, and the open item has the same status."""
    writer, told = write([([Delta(text="one")], finish)])
    (item,) = writer.draft.output
    assert item["status"] == status
    last = told.events[-1]
    assert last["type"] == f"response.{status}"
    assert last["response"]["incomplete_details"] == (None if reason is None else {"reason": reason})
    assert (last["response"]["completed_at"] is None) == (reason is not None)


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_question_that_was_cut_off_shows_what_there_is(finish: str) -> None:
    """Whoever is asked whether a tool may be called sees the arguments as far as they came, not none."""
    question = McpQuestion(SERVER, RemoteTool("find", "", {}), "docs__find")
    writer = Writer(Draft(REQUEST, "resp_1", "m"), lambda _: question)
    writer.begin_turn()
    writer.take(Delta(tool_calls=(ToolCallDelta(0, "c", "docs__find", '{"path": "/et'),)))
    events = writer.end_turn(finish)
    (item,) = writer.draft.output
    assert item["arguments"] == '{"path": "/et'
    assert [event["item"] for event in events] == [item]
    assert "status" not in item, "the specification has none"


def test_a_model_that_says_nothing_has_an_empty_message() -> None:
    """A turn without a word or a call is one message with an empty text, done like any other."""
    writer, told = write([([], "stop")])
    (item,) = writer.draft.output
    assert (item["type"], item["status"], item["content"][0]["text"]) == ("message", "completed", "")
    assert [event["type"] for event in told.events[2:-1]] == [
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]


@pytest.mark.parametrize("logprobs", [True, False])
def test_log_probabilities_are_told_where_they_are_wanted(*, logprobs: bool) -> None:
    """Where they are, events have them without bytes, items with; else neither has any."""
    token = TokenLogprob("é", -0.5, None, (TopLogprob("e", -1.0, (101,)),))
    writer, told = write([([Delta(text="é", logprobs=(token,))], "stop")], logprobs=logprobs)
    (delta,) = told.of("response.output_text.delta")
    (done,) = told.of("response.output_text.done")
    short = {"token": "é", "logprob": -0.5, "top_logprobs": [{"token": "e", "logprob": -1.0}]}
    whole = short | {"bytes": [195, 169], "top_logprobs": [{"token": "e", "logprob": -1.0, "bytes": [101]}]}
    assert delta["logprobs"] == done["logprobs"] == ([short] if logprobs else [])
    assert writer.draft.output[0]["content"][0]["logprobs"] == ([whole] if logprobs else [])
