"""What every engine of `conftest.FACTORIES` holds; a point is skipped only where the engine does not declare it."""

import asyncio
import json
import math
import time
from typing import Any

import jsonschema
import pytest

from freehold.engines.base import Connection
from freehold.errors import ContextLengthExceeded, EngineFailed, EngineUnavailable
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Delta
from tests.engines.subject import PATIENCE_S, Subject, chat_request, completion_request, hear, socket_path

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "minLength": 1, "maxLength": 20},
                "unit": {"enum": ["celsius", "kelvin"]},
            },
            "required": ["place", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time of day.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
}


def test_chat_follows_the_grammar(subject: Subject) -> None:
    """A chat says something, finishes once and closes with a usage that the engine counted."""

    async def trial(connection: Connection, _: Traits) -> None:
        heard = await hear(connection.chat(chat_request(max_tokens=24, temperature=0)))
        assert heard.text.strip()
        assert heard.finish in {"stop", "length"}
        assert not heard.usage.estimated
        assert heard.usage.prompt_tokens > 0
        assert 0 < heard.usage.completion_tokens <= 24

    subject.try_out(trial, Feature.CHAT)


def test_completion_follows_the_grammar(subject: Subject) -> None:
    """A completion says something, finishes once and closes with a usage that the engine counted."""

    async def trial(connection: Connection, _: Traits) -> None:
        heard = await hear(connection.complete(completion_request(max_tokens=5, temperature=0), subject.long_prompt))
        assert heard.text
        assert heard.finish == "length"
        assert heard.usage.completion_tokens == 5
        assert not heard.usage.estimated

    subject.try_out(trial, Feature.COMPLETION)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_limit_cuts_the_answer(subject: Subject, name: str) -> None:
    """An answer that reaches its limit, under either name, has exactly so many tokens and finishes for `length`."""

    async def trial(connection: Connection, _: Traits) -> None:
        heard = await hear(connection.chat(chat_request(subject.long_prompt, temperature=0, **{name: 7})))
        assert heard.finish == "length"
        assert heard.usage.completion_tokens == 7

    subject.try_out(trial, Feature.CHAT)


def test_stop_ends_the_answer(subject: Subject) -> None:
    """A stop sequence ends the answer before itself and the choice finishes for `stop`."""

    async def trial(connection: Connection, _: Traits) -> None:
        whole = await hear(connection.chat(chat_request(subject.long_prompt, max_tokens=30, temperature=0, seed=1)))
        words = whole.text.split()
        ending = words[len(words) // 2]
        expected = whole.text.split(ending, 1)[0]
        parameters = {"max_tokens": 30, "temperature": 0, "seed": 1, "stop": [ending, "never-said"]}
        heard = await hear(connection.chat(chat_request(subject.long_prompt, **parameters)))
        assert heard.text == expected
        assert heard.finish == "stop"

    subject.try_out(trial, Feature.CHAT, Feature.STOP)


def test_seed_repeats_the_answer(subject: Subject) -> None:
    """Two requests with the same seed have the same answer."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = chat_request(max_tokens=16, temperature=1, seed=7)
        first, second = [await hear(connection.chat(request)) for _ in range(2)]
        assert first.text == second.text

    subject.try_out(trial, Feature.CHAT, Feature.SEED)


def test_n_makes_several_choices(subject: Subject) -> None:
    """`n` choices each say something and finish, and the usage counts them all."""

    async def trial(connection: Connection, _: Traits) -> None:
        heard = await hear(connection.chat(chat_request(subject.long_prompt, n=3, max_tokens=4)), choices=3)
        assert all(heard.text_of(choice) for choice in range(3))
        assert heard.usage.completion_tokens == 12

    subject.try_out(trial, Feature.CHAT, Feature.N)


def test_chat_logprobs_are_probabilities(subject: Subject) -> None:
    """Each token has a log probability that is none above zero and the alternatives asked for, likeliest first."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = chat_request(max_tokens=5, temperature=0, logprobs=True, top_logprobs=3)
        heard = await hear(connection.chat(request))
        entries = [entry for delta in heard.deltas for entry in delta.logprobs]
        # not one entry a token: an engine may hold a character of several tokens back and tell it as one
        assert "".join(entry.token for entry in entries) == heard.text
        for entry in entries:
            assert entry.logprob <= 0
            assert len(entry.top) == 3
            assert sum(math.exp(top.logprob) for top in entry.top) <= 1.001
            assert [top.logprob for top in entry.top] == sorted((t.logprob for t in entry.top), reverse=True)
        assert heard.text.startswith(entries[0].token)

    subject.try_out(trial, Feature.CHAT, Feature.LOGPROBS)


def test_completion_logprobs_are_probabilities(subject: Subject) -> None:
    """A completion's older form of log probabilities says the same things."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = completion_request(max_tokens=4, temperature=0, logprobs=2)
        heard = await hear(connection.complete(request, subject.long_prompt))
        entries = [entry for delta in heard.deltas for entry in delta.logprobs]
        assert len(entries) == 4
        assert all(entry.logprob <= 0 and len(entry.top) == 2 for entry in entries)
        assert "".join(entry.token for entry in entries) == heard.text

    subject.try_out(trial, Feature.COMPLETION, Feature.LOGPROBS)


def test_logit_bias_bans_tokens(subject: Subject) -> None:
    """A token with a bias of -100 is not said."""

    async def trial(connection: Connection, _: Traits) -> None:
        plain = await hear(connection.complete(completion_request(max_tokens=4, temperature=0), subject.long_prompt))
        banned = {str(number): -100 for number in subject.token_ids(plain.text)}
        request = completion_request(max_tokens=4, temperature=0, logit_bias=banned)
        heard = await hear(connection.complete(request, subject.long_prompt))
        assert not set(subject.token_ids(heard.text)) & set(subject.token_ids(plain.text))

    subject.try_out(trial, Feature.COMPLETION, Feature.LOGIT_BIAS)


def test_json_object_is_one(subject: Subject) -> None:
    """With `json_object` a finished answer is a JSON object."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = chat_request(
            "Write JSON about a cat", response_format={"type": "json_object"}, max_tokens=200, temperature=0, seed=1
        )
        heard = await hear(connection.chat(request))
        if heard.finish == "stop":
            assert isinstance(json.loads(heard.text), dict)

    subject.try_out(trial, Feature.CHAT, Feature.JSON_OBJECT)


def test_json_schema_is_met(subject: Subject) -> None:
    """With `json_schema` the answer meets the schema."""
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["cat", "dog"]},
            "legs": {"type": "integer", "minimum": 3, "maximum": 4},
            "tame": {"type": "boolean"},
            "owner": {"$ref": "#/$defs/person"},
        },
        "required": ["kind", "legs", "tame", "owner"],
        "additionalProperties": False,
        "$defs": {
            "person": {
                "type": "object",
                "properties": {"initial": {"type": "string", "minLength": 1, "maxLength": 3}},
                "required": ["initial"],
                "additionalProperties": False,
            }
        },
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "pet", "schema": schema, "strict": True}}

    async def trial(connection: Connection, _: Traits) -> None:
        request = chat_request("Tell of a pet", response_format=response_format, max_tokens=200, temperature=0)
        heard = await hear(connection.chat(request))
        assert heard.finish == "stop"
        jsonschema.validate(json.loads(heard.text), schema)

    subject.try_out(trial, Feature.CHAT, Feature.JSON_SCHEMA)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_demanded_call_is_made(subject: Subject, choice: Any) -> None:
    """A tool call that is demanded is made, with arguments that meet the function's parameters."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = chat_request(
            "How is the weather in Rome?", tools=[WEATHER], tool_choice=choice, max_tokens=200, temperature=0
        )
        heard = await hear(connection.chat(request))
        name, arguments = heard.calls[0]
        assert name == "get_weather"
        jsonschema.validate(json.loads(arguments), WEATHER["function"]["parameters"])
        assert heard.finish in {"tool_calls", "stop"}

    subject.try_out(trial, Feature.CHAT, Feature.TOOLS)


def test_named_call_is_of_that_function(subject: Subject) -> None:
    """Of several functions the one that is named is called."""

    async def trial(connection: Connection, _: Traits) -> None:
        choice = {"type": "function", "function": {"name": "get_time"}}
        request = chat_request(tools=[WEATHER, CLOCK], tool_choice=choice, max_tokens=100, temperature=0)
        heard = await hear(connection.chat(request))
        assert [name for name, _ in heard.calls][:1] == ["get_time"]

    subject.try_out(trial, Feature.CHAT, Feature.TOOLS)


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_call_is_not_forced(subject: Subject, choice: str) -> None:
    """With `none` no call is made, and with `auto` an answer is text or calls that exist."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = chat_request("Good morning!", tools=[CLOCK], tool_choice=choice, max_tokens=40, temperature=0)
        heard = await hear(connection.chat(request))
        assert {name for name, _ in heard.calls} <= ({"get_time"} if choice == "auto" else set())
        assert heard.text or heard.calls

    subject.try_out(trial, Feature.CHAT, Feature.TOOLS)


@pytest.mark.parametrize("choice", [None, "auto", "none", "required"])
def test_tokens_are_counted_as_they_are_read(subject: Subject, choice: str | None) -> None:
    """An engine that counts a prompt's tokens beforehand tells what its usage tells afterwards, tools included."""

    async def trial(connection: Connection, traits: Traits) -> None:
        tools = {"tools": [WEATHER, CLOCK], "tool_choice": choice}
        given = tools if choice is not None and Feature.TOOLS in traits.features else {}
        request = chat_request("How is the weather in Rome?", max_tokens=100, temperature=0, **given)
        counted = await connection.count_tokens(request)
        if counted is None:
            pytest.skip("this engine does not count")
        assert counted == (await hear(connection.chat(request))).usage.prompt_tokens

    subject.try_out(trial, Feature.CHAT)


def test_token_prompt_is_read(subject: Subject) -> None:
    """A prompt of token ids is counted token by token and answered."""

    async def trial(connection: Connection, _: Traits) -> None:
        prompt = subject.token_ids("one two three four")
        heard = await hear(connection.complete(completion_request(max_tokens=3), prompt))
        assert len(prompt) <= heard.usage.prompt_tokens <= len(prompt) + 1  # some put a token before the first
        assert heard.usage.completion_tokens <= 3

    subject.try_out(trial, Feature.COMPLETION, Feature.TOKEN_PROMPT)


def test_embeddings_are_unit_vectors(subject: Subject) -> None:
    """Each input has one vector of unit length, the same at each asking and unlike that of another text."""

    async def trial(connection: Connection, traits: Traits) -> None:
        first = await connection.embed(["a cat", "a stone"], None)
        again = await connection.embed(["a cat"], None)
        assert len(first.vectors) == 2
        assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-3) for vector in first.vectors)
        assert math.dist(first.vectors[0], again.vectors[0]) < 1e-3
        assert math.dist(*first.vectors) > 0.1
        assert first.usage.prompt_tokens > 0
        assert traits.embedding_dimensions in {None, len(first.vectors[0])}

    subject.try_out(trial, Feature.EMBEDDINGS)


def test_embeddings_are_shortened(subject: Subject) -> None:
    """`dimensions` shortens a vector and leaves it at unit length."""

    async def trial(connection: Connection, _: Traits) -> None:
        found = await connection.embed(["a cat"], 16)
        assert len(found.vectors[0]) == 16
        assert math.isclose(math.hypot(*found.vectors[0]), 1, abs_tol=1e-3)

    subject.try_out(trial, Feature.EMBEDDINGS, Feature.DIMENSIONS)


def test_long_prompt_is_refused_with_its_numbers(subject: Subject) -> None:
    """A prompt over the context length is refused with the limit and what it would have needed."""

    async def trial(connection: Connection, traits: Traits) -> None:
        assert traits.context_length is not None
        text = "much too long " * traits.context_length
        with pytest.raises(ContextLengthExceeded) as caught:
            await hear(connection.chat(chat_request(text)))
        assert caught.value.limit == traits.context_length
        assert caught.value.requested > traits.context_length

    subject.try_out(trial, Feature.CHAT)


def test_closing_a_stream_stops_the_work(subject: Subject) -> None:
    """When a stream is closed early the engine stops working on it, and goes on to serve others."""

    async def trial(connection: Connection, _: Traits) -> None:
        stream = connection.chat(chat_request(subject.long_prompt, max_tokens=400))
        assert isinstance(await anext(stream), Delta)
        assert await asyncio.to_thread(subject.active) == 1
        await stream.aclose()
        deadline = time.monotonic() + PATIENCE_S
        while await asyncio.to_thread(subject.active):
            assert time.monotonic() < deadline, "the engine goes on"
            await asyncio.sleep(0.02)
        assert (await hear(connection.chat(chat_request(max_tokens=8, temperature=0)))).text

    subject.try_out(trial, Feature.CHAT)


def test_many_at_once_do_not_mix(subject: Subject) -> None:
    """Requests at the same time each have an answer of their own, the same as alone."""

    async def trial(connection: Connection, _: Traits) -> None:
        requests = [chat_request(f"Say the number {number}", max_tokens=4, temperature=0) for number in range(6)]
        alone = [(await hear(connection.chat(request))).text for request in requests]
        together = [heard.text for heard in await asyncio.gather(*(hear(connection.chat(r)) for r in requests))]
        assert together == alone

    subject.try_out(trial, Feature.CHAT)


def test_killed_engine_fails_its_streams(doomed_subject: Subject) -> None:
    """A process that dies in mid-stream fails the stream; afterwards the engine cannot be reached."""

    async def trial(connection: Connection, _: Traits) -> None:
        stream = connection.chat(chat_request(doomed_subject.long_prompt, max_tokens=400))
        await anext(stream)
        doomed_subject.kill()
        with pytest.raises(EngineFailed):
            await hear(stream)
        with pytest.raises(EngineUnavailable):
            await hear(connection.chat(chat_request()))
        with pytest.raises(EngineUnavailable):
            await connection.check()

    doomed_subject.try_out(trial, Feature.CHAT)


def test_closed_connection_fails_what_is_in_flight(subject: Subject) -> None:
    """Closing the connection fails calls in flight, and later ones, as unavailable."""

    async def trial(connection: Connection, _: Traits) -> None:
        stream = connection.chat(chat_request(subject.long_prompt, max_tokens=400))
        await anext(stream)
        await connection.close()
        with pytest.raises(EngineUnavailable):
            await hear(stream)
        with pytest.raises(EngineUnavailable):
            await hear(connection.chat(chat_request()))

    subject.try_out(trial, Feature.CHAT)


def test_nothing_there_is_unavailable(subject: Subject) -> None:
    """A connection to a socket where nobody listens is unavailable, and its message names no path."""

    async def main() -> None:
        with socket_path() as nowhere:
            connection = subject.engine.connect(subject.spec, nowhere)
            try:
                with pytest.raises(EngineUnavailable) as caught:
                    await connection.check()
                assert str(nowhere) not in caught.value.message
            finally:
                await connection.close()

    if subject.engine.name == "remote":
        pytest.skip("has no socket; test_remote.py asks at a port where nobody listens")
    asyncio.run(main())
