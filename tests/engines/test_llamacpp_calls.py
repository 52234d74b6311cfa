"""With tools that may be called, a real model's calls come as calls and everything else as text, streamed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from freehold.engines.base import Connection
from freehold.types.engine import Feature, Traits
from tests.conftest import StarterModels
from tests.engines.llamacpp_models import llamacpp
from tests.engines.subject import Heard, Subject, chat_request, hear

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
ONE = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
TWO = f"{ONE}\n{ONE.replace('Paris', 'Rome')}"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def started(starter_models: StarterModels) -> Iterator[Subject]:
    """The engine with the template that knows tools, as the starter model gets it."""
    with llamacpp(starter_models.chat, parallel=4) as subject:
        yield subject


def _repeat(subject: Subject, text: str, **parameters: Any) -> Heard:
    """What the model says when it is to repeat a text, and may call tools."""
    heard: list[Heard] = []

    async def trial(connection: Connection, _: Traits) -> None:
        said = {"temperature": 0, "max_tokens": 120, "tools": TOOLS, **parameters}
        heard.append(await hear(connection.chat(chat_request(f"Repeat exactly: {text}", **said))))

    subject.try_out(trial, Feature.TOOLS)
    return heard[0]


def test_calls_come_whole_and_in_order(started: Subject) -> None:
    """Two calls that the model chooses to make come as two, each with its own index, id and whole arguments."""
    heard = _repeat(started, TWO)
    assert heard.finish == "tool_calls"
    assert [name for name, _ in heard.calls] == ["get_weather", "get_weather"]
    assert [json.loads(arguments) for _, arguments in heard.calls] == [{"city": "Paris"}, {"city": "Rome"}]
    pieces = [piece for delta in heard.deltas for piece in delta.tool_calls]
    assert {piece.index for piece in pieces} == {0, 1}
    assert len({piece.id for piece in pieces if piece.id}) == 2
    assert len(pieces) > 4, "the arguments were not streamed"
    assert "tool_call>" not in heard.text


def test_one_call_where_several_are_not_wanted(started: Subject) -> None:
    """Without `parallel_tool_calls`, the model makes one call even where it would make two."""
    assert len(_repeat(started, TWO, parallel_tool_calls=False).calls) == 1


def test_a_tag_without_a_call_is_text(started: Subject) -> None:
    """A tag that the model only speaks of stays in the text, and is no failure."""
    for said in ("<tool_call></tool_call>", "<tool_call> is a tag", "<tool_call>\nnot json\n</tool_call>"):
        heard = _repeat(started, said)
        assert heard.calls or heard.text
        for name, arguments in heard.calls:
            assert name == "get_weather"
            assert isinstance(json.loads(arguments), dict)


def test_a_call_that_is_broken_off_is_not_told_as_whole(started: Subject) -> None:
    """Where a limit or a stop sequence ends the answer within a call, the finish reason is `length`."""
    assert _repeat(started, TWO, max_tokens=20).finish == "length"
    stopped = _repeat(started, TWO, stop="Paris")
    assert stopped.finish == "length"
    assert stopped.calls == [("get_weather", '{"city": "')]
