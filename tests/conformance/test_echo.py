"""Every parameter of the text operations, through the official clients, on the deterministic engine."""

import base64
import json
import re
import struct
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.conformance.echo import CONFIG, WEATHER, ask
from tests.conformance.recording import Dialect, Judge, client_for
from tests.service import Service

pytestmark = pytest.mark.slow


UNFILTERED = """
[[content_filter]]
name = "off"
hate = { prompt = { action = "off" }, completion = { action = "off" } }
sexual = { prompt = { action = "off" }, completion = { action = "off" } }
violence = { prompt = { action = "off" }, completion = { action = "off" } }
self_harm = { prompt = { action = "off" }, completion = { action = "off" } }
jailbreak = "off"

[[deployment]]
name = "unfiltered"
engine = "echo"
model = "echo"
content_filter = "off"
"""
"""A deployment whose prompts are not examined, so that they may be tokens."""


@pytest.fixture(scope="module", params=[1, 2], ids=["alone", "workers"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with the echo engine: one process, or with workers."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG + UNFILTERED, workers=request.param) as service:
        yield service


@pytest.fixture
def client(service: Service, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client."""
    with client_for(service, dialect, judge) as client:
        yield client


def test_chat_answers(client: OpenAI) -> None:
    """A chat completion has its text, its finish reason and exact usage."""
    answer = ask(client)
    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "echo"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_an_alias_answers_too(client: OpenAI) -> None:
    """An application that asks for `gpt-4o` runs unchanged."""
    assert ask(client, model="gpt-4o").choices[0].message.content == "one two three"


def test_chat_streams(client: OpenAI) -> None:
    """A stream has a role first, then the text in pieces, a finish reason, and the usage when it is asked for."""
    stream = client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": "one two three"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert next(chunk for chunk in chunks if chunk.choices).choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert all(c.usage is None for c in chunks[:-1])
    assert len({c.id for c in chunks}) == 1


def test_several_choices(client: OpenAI) -> None:
    """`n` gives so many choices, whole and streamed, and counts the prompt once."""
    one, three = ask(client), ask(client, n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert one.usage is not None
    assert three.usage is not None
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens
    stream = client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "a b"}], n=3, stream=True
    )
    assert {choice.index for chunk in stream for choice in chunk.choices} == {0, 1, 2}


def test_limits_and_stops(client: OpenAI) -> None:
    """Both names of the token limit end with `length`; a stop sequence ends before itself."""
    assert ask(client, max_tokens=2).choices[0].finish_reason == "length"
    limited = ask(client, max_completion_tokens=1)
    assert (limited.choices[0].message.content, limited.choices[0].finish_reason) == ("one", "length")
    assert ask(client, stop=[" three"]).choices[0].message.content == "one two"


def test_logprobs(client: OpenAI) -> None:
    """Each token has its log-probability and as many alternatives as were asked for."""
    logprobs = ask(client, logprobs=True, top_logprobs=2).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert "".join(token.token for token in logprobs.content) == "one two three"
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in logprobs.content)
    bare = ask(client, logprobs=True).choices[0].logprobs
    assert bare is not None
    assert bare.content is not None
    assert all(token.top_logprobs == [] for token in bare.content)
    assert ask(client).choices[0].logprobs is None


def test_json_formats(client: OpenAI) -> None:
    """JSON mode gives an object, a schema gives an instance of it."""
    text = ask(client, response_format={"type": "json_object"}).choices[0].message.content
    assert isinstance(json.loads(text or ""), dict)
    schema = {**WEATHER["function"]["parameters"]}  # type: ignore[index]
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}
    text = ask(client, response_format=form).choices[0].message.content
    assert set(json.loads(text or "")) == {"city"}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_tools(client: OpenAI, choice: object) -> None:
    """A required or named tool is called, whole and streamed, with arguments that parse."""
    answer = ask(client, tools=[WEATHER], tool_choice=choice).choices[0]
    assert answer.finish_reason == "tool_calls"
    assert answer.message.tool_calls is not None
    call = answer.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert "city" in json.loads(call.function.arguments)
    stream = client.chat.completions.create(  # type: ignore[call-overload]
        model="echo",
        messages=[{"role": "user", "content": "x"}],
        tools=[WEATHER],
        tool_choice=choice,
        stream=True,
    )
    pieces = [piece for chunk in stream for c in chunk.choices for piece in c.delta.tool_calls or []]
    assert pieces[0].function.name == "get_weather"
    assert "city" in json.loads("".join(piece.function.arguments for piece in pieces))


def test_no_tool_is_called_when_none_is_wanted(client: OpenAI) -> None:
    """`tool_choice: none` gives text."""
    answer = ask(client, tools=[WEATHER], tool_choice="none", parallel_tool_calls=False).choices[0]
    assert (answer.message.tool_calls, answer.finish_reason) == (None, "stop")


def test_functions_of_old(client: OpenAI) -> None:
    """The older `functions` still work, whole and streamed."""
    named = {"functions": [WEATHER["function"]], "function_call": {"name": "get_weather"}}
    answer = ask(client, **named).choices[0]
    assert answer.finish_reason == "function_call"
    assert answer.message.function_call is not None
    assert "city" in json.loads(answer.message.function_call.arguments)
    stream = client.chat.completions.create(  # type: ignore[call-overload]
        model="echo", messages=[{"role": "user", "content": "x"}], stream=True, **named
    )
    pieces = [c.delta.function_call for chunk in stream for c in chunk.choices if c.delta.function_call]
    assert pieces[0].name == "get_weather"
    assert "city" in json.loads("".join(piece.arguments or "" for piece in pieces))


def test_harmless_parameters_are_taken(client: OpenAI) -> None:
    """Sampling values, end users, metadata and the default tier are accepted."""
    answer = ask(
        client,
        temperature=0.5,
        top_p=0.9,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        seed=7,
        user="ann",
        safety_identifier="a1",
        metadata={"team": "x"},
        store=False,
        service_tier="auto",
        logit_bias={"5": 1},
        modalities=["text"],
        prompt_cache_key="k",
    )
    assert answer.service_tier == "default"
    assert answer.system_fingerprint


@pytest.mark.parametrize("tier", ["default", "priority", "flex"])
def test_the_tier_that_is_asked_for_serves(client: OpenAI, tier: str) -> None:
    """A request of each tier is served, and its answer and its stream say which one it was."""
    assert ask(client, service_tier=tier).service_tier == tier
    stream = client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": "x"}],
        stream=True,
        service_tier=tier,
    )
    assert {chunk.service_tier for chunk in stream} == {tier}


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"verbosity": "low"}, "verbosity"),
        ({"service_tier": "scale"}, "service_tier"),
        ({"extra_body": {"best_of": 2}}, "best_of"),
        ({"max_completion_tokens": 65}, "max_completion_tokens"),
        ({"temperature": 2.1}, "temperature"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": 1}}}},
            "response_format",
        ),
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(client: OpenAI, parameters: dict[str, object], param: str) -> None:
    """An unknown parameter, or one that the deployment cannot do, is a 400 that names it."""
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **parameters)
    assert caught.value.param == param


def test_too_long_a_prompt_tells_both_numbers(client: OpenAI) -> None:
    """A prompt beyond the context length is a 400 with the limit and the tokens needed."""
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, messages=[{"role": "user", "content": "word " * 100}])
    assert caught.value.code == "context_length_exceeded"
    assert "is 64 tokens" in caught.value.message
    assert re.search(r"needs 1\d\d tokens", caught.value.message)


def test_completions(client: OpenAI) -> None:
    """Text completions take texts and tokens, echo, `n`, `best_of` and log-probabilities."""
    answer = client.completions.create(model="echo", prompt=["one two", "three"], max_tokens=4, echo=True)
    assert [choice.text.startswith(p) for choice, p in zip(answer.choices, ("one two", "three"), strict=True)]
    assert [choice.index for choice in answer.choices] == [0, 1]
    tokens = client.completions.create(model="unfiltered", prompt=[5, 6, 7], max_tokens=4)
    assert tokens.choices[0].text
    best = client.completions.create(model="echo", prompt="a b c", best_of=3, n=2, logprobs=2)
    assert len(best.choices) == 2
    assert best.choices[0].logprobs is not None
    assert best.choices[0].logprobs.tokens is not None
    none = client.completions.create(model="echo", prompt="a b c", max_tokens=0, echo=True)
    assert (none.choices[0].text, none.choices[0].finish_reason) == ("a b c", "length")
    assert none.usage is not None
    assert (none.usage.completion_tokens, none.usage.prompt_tokens) == (0, 3)


def test_limits_that_nobody_named(client: OpenAI) -> None:
    """A text completion that names no limit has sixteen tokens, as specified; a chat has its deployment's default."""
    words = "a " * 30
    completion = client.completions.create(model="echo", prompt=words)
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 16
    chat = ask(client, messages=[{"role": "user", "content": words}])
    assert chat.usage is not None
    assert (chat.usage.completion_tokens, chat.choices[0].finish_reason) == (20, "length")


def test_completions_stream(client: OpenAI) -> None:
    """A streamed text completion ends with its usage when asked."""
    stream = client.completions.create(
        model="echo", prompt="one two", stream=True, stream_options={"include_usage": True}, echo=True, logprobs=None
    )
    chunks = list(stream)
    assert "".join(c.choices[0].text for c in chunks if c.choices).startswith("one two")
    assert chunks[-1].usage is not None


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"suffix": "x"}, "suffix"),
        ({"echo": True, "logprobs": 1}, "logprobs"),
        ({"echo": True, "prompt": [1, 2]}, "echo"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"extra_body": {"tools": []}}, "tools"),
    ],
)
def test_completions_refuse_by_name(client: OpenAI, parameters: dict[str, object], param: str) -> None:
    """What a text completion cannot do is named."""
    body = {"model": "echo", "prompt": "a", **parameters}
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**body)  # type: ignore[call-overload]
    assert caught.value.param == param


def test_embeddings(client: OpenAI) -> None:
    """Vectors come as floats or as base64 of the same floats, in order, at the length asked for."""
    answer = client.embeddings.create(model="echo", input=["a", "b", "a"], encoding_format="float")
    vectors = [item.embedding for item in answer.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert abs(sum(x * x for x in vectors[0]) - 1) < 1e-5
    packed = client.embeddings.with_raw_response.create(model="echo", input="a", encoding_format="base64")
    raw = base64.b64decode(json.loads(packed.content)["data"][0]["embedding"])
    assert struct.unpack("<8f", raw) == pytest.approx(vectors[0], abs=1e-6)
    assert len(client.embeddings.create(model="echo", input=[[1, 2]], dimensions=4).data[0].embedding) == 4
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="echo", input="a", dimensions=9)
    assert caught.value.param == "dimensions"
