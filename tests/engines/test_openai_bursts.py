"""What goes to a server that speaks the OpenAI API, and what comes in one piece from it."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.openai_http import GATEWAY_FIELDS
from freehold.engines.openai_stream import Alike, chat_deltas
from freehold.errors import FreeholdError
from freehold.types.chat import ChatRequest
from freehold.types.generation import Delta, Event, ToolCallDelta
from tests.engines.subject import chat_request
from tests.engines.test_openai_http import PlainConnection, hear_from, refused, said, served, streaming


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 1, "top_p": 0.5, "n": 2, "logprobs": True, "top_logprobs": 3, "reasoning_effort": "none"},
        {"stop": ["a", "b"], "logit_bias": {"5": 1}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"},
        {
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "a"}], "name": "n"},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "content": "b", "tool_call_id": "c"},
            ]
        },
    ],
)
def test_every_parameter_reaches_the_engine_as_it_was_read(parameters: dict[str, Any]) -> None:
    """The body has whatever the request has that is not None, in its form on the wire."""
    request = chat_request(**parameters)
    body = PlainConnection(model="theirs", base_url="http://localhost/v1").chat_body(request)
    wanted = request.model_dump(exclude_none=True, by_alias=True, exclude=GATEWAY_FIELDS)
    assert body == {**wanted, "model": "theirs", "stream": True, "stream_options": {"include_usage": True}}


def frames(*events: Any) -> bytes:
    """Chunks that come together."""
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (None, [Delta(0, "a b c", finish_reason="stop", pieces=3)]),
        (True, [Delta(0, "a b c", pieces=3), Delta(0, finish_reason="stop")]),
    ],
)
def test_texts_that_come_together_are_one(stream: bool | None, wanted: list[Delta]) -> None:
    """Of a burst there is one text, which has its end with it where the answer is wanted whole."""
    burst = frames(said(""), said("a"), said(" b"), said(" c"), said(finish="stop"))
    options = {} if stream is None else {"stream": stream}
    assert hear_from(streaming(raw=burst), **options).deltas == wanted


def test_only_texts_of_one_choice_are_one() -> None:
    """Texts of several choices, reasoning and calls stay what they are, in their order."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    burst = frames(
        said("a"), said("b", index=1), said("c", "stop", index=1), said("d"), said(reasoning="e"), said("f"),
        said(tool_calls=[call]), said("g"), said(finish="stop"),
    )  # fmt: skip
    assert hear_from(streaming(raw=burst), choices=2, n=2).deltas == [
        Delta(0, "a"),
        Delta(1, "bc", finish_reason="stop", pieces=2),
        Delta(0, "d"),
        Delta(0, reasoning="e"),
        Delta(0, "f"),
        Delta(0, tool_calls=(ToolCallDelta(0, "c", "f", "{}"),)),
        Delta(0, "g", finish_reason="stop"),
    ]


def test_what_came_before_a_failure_is_heard() -> None:
    """An error in the midst of a burst comes after the texts before it."""

    async def main() -> Event:
        async with served(streaming(raw=frames(said("a"), said("b"), refused()))) as connection:
            stream = connection.chat(chat_request("x"))
            first = await anext(stream)
            with pytest.raises(FreeholdError):
                await anext(stream)
            return first

    assert asyncio.run(main()) == Delta(0, "ab", pieces=2)


def test_what_a_request_does_not_give_is_none() -> None:
    """No field of a chat request has another default, so that only what was given need be looked at."""
    given_by_nobody = {name for name, field in ChatRequest.model_fields.items() if not field.is_required()}
    assert all(ChatRequest.model_fields[name].default is None for name in given_by_nobody)
    assert set(ChatRequest.model_fields) - given_by_nobody == {"model", "messages"}


CHUNKS = [
    *(json.dumps(said(text)).encode() for text in ("a", ' "b"}', "é\\", "]}", "")),
    *(json.dumps(event).encode() for event in (said("a", index=1), said("a", "stop"), said(finish="stop"))),
    json.dumps(said("a")).encode()[:-3],
    b"[DONE]",
]


@given(st.lists(st.sampled_from(CHUNKS), min_size=1) | st.integers(1, 300).map(lambda count: CHUNKS[:4] * count))
def test_chunks_that_are_looked_at_at_once_say_what_each_says(burst: list[bytes]) -> None:
    """The texts of a burst are those of its first chunks, up to one that is not like the example or says nothing."""
    example = json.dumps(said("an example")).encode()
    alike = Alike()
    alike.learn(example, chat_deltas(json.loads(example)))
    begin, _, end = example.partition(b'"an example"')
    wanted: list[str] = []
    for data in burst:
        literal = data.removeprefix(begin).removesuffix(end)
        if len(literal) != len(data) - len(begin) - len(end) or literal == b'""':
            break
        wanted.append(json.loads(literal))
    heard: list[str] = []
    while len(heard) < len(burst) and (texts := alike.texts(burst, len(heard))):
        heard += texts
    assert heard == wanted
