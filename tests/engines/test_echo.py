import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jsonschema
import pytest

from freehold.engines.base import Connection
from freehold.engines.echo import EchoEngine
from freehold.engines.echo_model import tokenize
from freehold.engines.echo_schema import UnmeetableSchemaError, minimal_instance
from freehold.errors import ConfigError, EngineFailed, InvalidRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Delta
from tests.engines.subject import PATIENCE_S, Subject, chat_request, completion_request, hear, wait_open

StartEcho = Callable[..., AbstractContextManager[Subject]]


def test_answer_is_the_question(start_echo: StartEcho) -> None:
    """The engine says the user's words back, token by token, and counts them exactly."""

    async def trial(connection: Connection, _: Traits) -> None:
        heard = await hear(connection.chat(chat_request("one two  three\nfour ")))
        assert heard.text == "one two  three\nfour "
        assert sum(delta.pieces for delta in heard.deltas if delta.text) == 5
        assert (heard.usage.prompt_tokens, heard.usage.completion_tokens) == (5, 5)
        ids = await hear(connection.complete(completion_request(), [7, 8]))
        assert ids.text == "<7> <8>"
        endless = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}
        with pytest.raises(InvalidRequest, match="without an end"):
            await hear(connection.chat(chat_request(response_format=endless)))

    with start_echo() as subject:
        subject.try_out(trial)


def test_faults_come_as_asked(start_echo: StartEcho) -> None:
    """The engine fails on one text and crashes in mid-stream on another, after two tokens."""

    async def trial(connection: Connection, _: Traits) -> None:
        with pytest.raises(EngineFailed):
            await hear(connection.chat(chat_request("please fail")))
        stream = connection.chat(chat_request("please crash now and here"))
        said = [await anext(stream) for _ in range(2)]
        assert [event.text for event in said if isinstance(event, Delta)] == ["please", " crash"]
        with pytest.raises(EngineFailed):
            await hear(stream)

    with start_echo(fail_on="fail", crash_on="crash") as subject:
        subject.try_out(trial)
        assert subject.process.wait(PATIENCE_S) == 70


def test_hung_engine_answers_nothing_but_ends_at_once(start_echo: StartEcho) -> None:
    """A hung engine answers no health check either, and SIGTERM still ends it."""

    async def trial(connection: Connection, _: Traits) -> None:
        hung = asyncio.ensure_future(anext(connection.chat(chat_request("please hang"))))
        try:
            await asyncio.sleep(0.2)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.check(), 0.3)
        finally:
            hung.cancel()
            await asyncio.wait([hung])

    with start_echo(hang_on="hang") as subject:
        subject.try_out(trial)
        subject.process.terminate()
        assert subject.process.wait(PATIENCE_S) == -15


def test_feature_can_be_left_out(start_echo: StartEcho) -> None:
    """`without` takes features out of what the engine declares."""

    async def trial(_: Connection, traits: Traits) -> None:
        assert not traits.features & {Feature.N, Feature.TOOLS}
        assert Feature.CHAT in traits.features

    with start_echo(without=["n", "tools"]) as subject:
        subject.try_out(trial)


def test_named_function_is_called_once(start_echo: StartEcho) -> None:
    """Left free, a function is called if the user names it, and not again once its answer is there."""
    tools = [{"type": "function", "function": {"name": "look_up"}}]
    call = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    user = {"role": "user", "content": "use look_up"}
    after = [
        user,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "found"},
    ]

    async def trial(connection: Connection, _: Traits) -> None:
        assert (await hear(connection.chat(chat_request(messages=[user], tools=tools)))).calls == [("look_up", "{}")]
        heard = await hear(connection.chat(chat_request(messages=after, tools=tools)))
        assert (heard.calls, heard.text) == ([], "found")

    with start_echo() as subject:
        subject.try_out(trial)


def test_server_imports_little() -> None:
    """The process imports neither a web framework nor pydantic, so that it starts at once."""
    code = "import sys, freehold.engines.echo_server; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"aiohttp", "pydantic", "starlette", "sqlalchemy"} & set(loaded)


def test_old_socket_does_not_keep_the_engine_from_starting(start_echo: StartEcho) -> None:
    """A socket that a killed process left behind is replaced."""
    with start_echo() as subject:
        subject.kill()
        assert subject.socket.is_socket()
        launch = subject.engine.launch(subject.spec, subject.socket)
        assert launch is not None
        with subprocess.Popen(launch.argv) as again:
            try:
                wait_open(subject.engine, subject.spec, subject.socket)
            finally:
                again.kill()


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"delay_s": -1}, "options.delay_s"),
        ({"delay": 1}, "options.delay"),
        ({"dimensions": 0}, "options.dimensions"),
        ({"context_length": 0}, "options.context_length"),
        ({"without": ["wings"]}, "options.without"),
        ({"crash_on": 3}, "options.crash_on"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], param: str) -> None:
    """An option that cannot work is refused by its name."""
    with pytest.raises(ConfigError) as caught:
        EchoEngine().validate(DeploymentSettings(name="e", model="e", engine="echo", options=options))
    assert caught.value.param == param


def test_tokens_joined_are_the_text() -> None:
    """No character is lost between tokens."""
    for text in ("", "a", " a  b ", "\n\n", "dé jà\tvu 你好 🙂"):
        assert "".join(tokenize(text)) == text


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"const": None},
        {"enum": [3, 4]},
        {"type": ["integer", "null"], "minimum": 2.5},
        {"type": "number", "exclusiveMinimum": 3, "maximum": 3.9},
        {"type": "integer", "exclusiveMaximum": -3, "multipleOf": 2},
        {"type": "string", "minLength": 4},
        {"type": "array", "minItems": 3, "prefixItems": [{"type": "string"}], "items": {"type": "boolean"}},
        {"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"a": {"const": 1}}, "required": ["b"]}]},
        {"anyOf": [{"$ref": "#/$defs/no"}, {"type": "integer"}], "$defs": {"no": False}},
        {
            "$ref": "#/$defs/node",
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                    "required": ["next"],
                }
            },
        },
        {"type": "object", "properties": {"a/b": {"type": "string"}, "c": {"$ref": "#/properties/a~1b"}},
         "required": ["c"]},
    ],
)  # fmt: skip
def test_instance_meets_its_schema(schema: Any) -> None:
    """A minimal instance meets the schema that it was made for."""
    jsonschema.validate(minimal_instance(schema), schema)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"type": "colour"},
        {"anyOf": [False, {"type": "colour"}]},
        {"allOf": [{"enum": [1]}, {"enum": [2]}]},
    ],
)
def test_schema_that_cannot_be_met_is_refused(schema: Any) -> None:
    """A schema without an instance is an error, not an endless search."""
    with pytest.raises(UnmeetableSchemaError):
        minimal_instance(schema)
