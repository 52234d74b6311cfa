import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from freehold.engines.openai_http import OpenAIConnection
from freehold.engines.openai_transport import ConnectionLimits
from freehold.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    FreeholdError,
    InvalidRequest,
)
from freehold.types.engine import Traits
from freehold.types.generation import Usage
from tests.engines.subject import Heard, chat_request, completion_request, hear

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LIMITS = ConnectionLimits(read_s=1.0, max_event_bytes=10_000, max_body_bytes=10_000)


class PlainConnection(OpenAIConnection):
    """The generic connection, as it is without an engine of its own."""

    async def open(self) -> Traits:
        """Nothing is known."""
        return Traits(frozenset())

    async def check(self) -> None:
        """Ask for the models."""
        await self.fetch("GET", self.url("models"))


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[PlainConnection]:
    """A real server that answers everything with one handler, and a connection to it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    connection = PlainConnection(model="theirs", base_url=f"http://{host}:{port}/v1", limits=LIMITS)
    try:
        yield connection
    finally:
        await connection.close()
        await runner.cleanup()


def hear_from(handler: Handler, choices: int = 1, **parameters: Any) -> Heard:
    """What a chat with a server of this handler says."""

    async def main() -> Heard:
        async with served(handler) as connection:
            return await hear(connection.chat(chat_request("abcdefgh", **parameters)), choices)

    return asyncio.run(main())


def error_from(handler: Handler, **parameters: Any) -> FreeholdError:
    """The error that a chat with a server of this handler raises."""
    with pytest.raises(FreeholdError) as caught:
        hear_from(handler, **parameters)
    assert "127.0.0.1" not in caught.value.message
    return caught.value


def answering(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Handler:
    """A handler with one plain answer."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

    return handle


def streaming(*events: Any, raw: bytes = b"", done: bool = True) -> Handler:
    """A handler that streams these chunks, then these bytes."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await response.write(raw + (b"data: [DONE]\n\n" if done else b""))
        return response

    return handle


def said(text: str | None = None, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """A chunk of a chat stream."""
    delta = {} if text is None else {"content": text}
    return {"choices": [{"index": index, "delta": {**delta, **more}, "finish_reason": finish}]}


def refused(**error: Any) -> dict[str, Any]:
    """An error in OpenAI's envelope."""
    return {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None, **error}}


def test_missing_usage_is_estimated() -> None:
    """Without a usage from the engine the tokens are counted here, and the usage says so."""
    heard = hear_from(streaming(said("a"), said("b"), said(finish="stop")))
    assert heard.usage == Usage(prompt_tokens=2, completion_tokens=2, estimated=True)


def test_usage_is_read_with_its_details() -> None:
    """Cached and reasoning tokens come through."""
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    heard = hear_from(streaming(said("a", "stop"), {"choices": [], "usage": usage}))
    assert heard.usage == Usage(9, 4, 8, 3)


def test_clean_end_without_a_finish_gets_one() -> None:
    """A stream that ends with `[DONE]` but without a finish reason finishes for `stop`, or for the calls it made."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    assert hear_from(streaming(said("a"))).finish == "stop"
    assert hear_from(streaming(said(tool_calls=[call]))).finish == "tool_calls"


def test_finished_stream_needs_no_done() -> None:
    """A stream whose choices have all finished is whole without `[DONE]`."""
    assert hear_from(streaming(said("a", "stop"), done=False)).finish == "stop"


def test_reasoning_comes_under_either_name() -> None:
    """`reasoning_content` and `reasoning` are both the reasoning."""
    heard = hear_from(streaming(said(reasoning_content="x"), said(reasoning="y"), said("z", "stop")))
    assert "".join(delta.reasoning for delta in heard.deltas) == "xy"
    assert heard.text == "z"


def test_choices_pass_by_index() -> None:
    """Several choices in one stream stay apart."""
    heard = hear_from(streaming(said("a", index=1), said("b", "stop"), said("c", "stop", 1)), 2, n=2)
    assert (heard.text_of(0), heard.text_of(1)) == ("b", "ac")


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(streaming(said("a"), done=False), id="no finish"),
        pytest.param(streaming(raw=b"data: {broken\n\n"), id="not JSON"),
        pytest.param(streaming(raw=b"data: []\n\n"), id="not an object"),
        pytest.param(streaming(raw=b'data: {"choices": [3]}\n\n'), id="choice is a number"),
        pytest.param(streaming(said(content=["a"])), id="text is a list"),
        pytest.param(streaming(said("a", index=4)), id="choice that nobody asked for"),
        pytest.param(streaming(said("a", "stop"), said("b")), id="goes on after its finish"),
        pytest.param(streaming(said("a", "abort")), id="gives up"),
        pytest.param(streaming(raw=b"data: " + b"x" * 20_000 + b"\n\n"), id="oversize event"),
        pytest.param(streaming(raw=b"x" * 20_000), id="oversize line"),
        pytest.param(streaming({"error": {"message": "out of memory", "code": 500}}), id="error in the stream"),
        pytest.param(answering(200, {"choices": []}), id="no stream"),
        pytest.param(answering(302, headers={"location": "/elsewhere"}), id="redirect"),
        pytest.param(answering(307, headers={"location": "http://127.0.0.1:1/"}), id="redirect elsewhere"),
        pytest.param(answering(401, refused(code="invalid_api_key")), id="401"),
        pytest.param(answering(403, refused()), id="403"),
        pytest.param(answering(404, refused()), id="404"),
        pytest.param(answering(500, refused(message="Traceback at /srv/app.py")), id="500"),
        pytest.param(answering(418, "tea"), id="418"),
    ],
)
def test_misbehaving_server_is_a_failed_engine(handler: Handler) -> None:
    """Whatever is the engine's fault is a failed engine, never the caller's error."""
    error = error_from(handler)
    assert type(error) is EngineFailed
    assert error.status == 502
    assert "/srv" not in error.message


def test_redirect_is_not_followed() -> None:
    """A redirect leads to no second request."""
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=308, headers={"location": "/other"})

    error_from(handle)
    assert seen == ["/v1/chat/completions"]


def test_refused_value_keeps_message_and_parameter() -> None:
    """A 400 says what the engine said and names the parameter, less addresses and paths."""
    message = "bad schema in /home/x/m.gguf at http://10.0.0.1:8000/v1\nsee 'pattern'"
    error = error_from(answering(400, refused(message=message, param="response_format", code="bad_schema")))
    assert type(error) is InvalidRequest
    assert (error.param, error.code) == ("response_format", "bad_schema")
    assert error.message == "bad schema in [withheld] at [withheld] see 'pattern'"
    assert type(error_from(answering(422, {"detail": "x"}))) is InvalidRequest


@pytest.mark.parametrize(
    "error",
    [
        {"type": "exceed_context_size_error", "code": 400, "n_prompt_tokens": 70, "n_ctx": 64},
        {
            "code": "context_length_exceeded",
            "message": "The maximum context length is 64 tokens. However, your messages resulted in 70 tokens.",
        },
        {"code": 400, "message": "This model's maximum context length is 64 tokens. However, you requested 70 tokens"},
        {
            "code": "context_length_exceeded",
            "message": "This model's maximum context length is 64 tokens. However, your request needs 70 tokens.",
        },
    ],
)
def test_context_length_is_known_in_every_wording(error: dict[str, Any]) -> None:
    """The servers' different words for a prompt that is too long become one error with both numbers."""
    for handler in (answering(400, refused(**error)), streaming(refused(**error))):
        found = error_from(handler)
        assert isinstance(found, ContextLengthExceeded)
        assert (found.limit, found.requested, found.param) == (64, 70, "messages")


def test_busy_server_is_unavailable_for_as_long_as_it_says() -> None:
    """A 429 is an engine that is unavailable, with the time it asks for."""
    for headers, wait in (({"retry-after": "7"}, 7.0), ({"retry-after-ms": "1500"}, 1.5), ({"retry-after": "?"}, 5.0)):
        error = error_from(answering(429, refused(), headers))
        assert type(error) is EngineUnavailable
        assert error.retry_after_s == wait


def test_silent_server_times_out() -> None:
    """A server that takes a request and says nothing is a timeout, before the answer and within it."""

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def half_silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: " + json.dumps(said("a")).encode() + b"\n\n")
        await asyncio.sleep(30)
        return response

    assert type(error_from(silent)) is EngineTimeout
    assert type(error_from(half_silent)) is EngineTimeout


def test_connection_cut_before_an_answer_is_unavailable() -> None:
    """When the other side hangs up without a word nothing was generated, and another may be asked."""

    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    assert type(error_from(hang_up)) is EngineUnavailable


@pytest.mark.parametrize("tail", [b"zz\r\nnot a size", b"5\r\ndata"])
def test_broken_chunks_are_a_failed_engine(tail: bytes) -> None:
    """HTTP chunks that are broken or cut off in the middle of an answer fail it."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    async def main() -> FreeholdError:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + tail)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connection = PlainConnection(model="m", base_url=f"http://127.0.0.1:{port}/v1", limits=LIMITS)
        try:
            with pytest.raises(FreeholdError) as caught:
                await hear(connection.chat(chat_request()))
            return caught.value
        finally:
            await connection.close()
            server.close()
            await server.wait_closed()

    assert type(asyncio.run(main())) is EngineFailed


def test_body_holds_what_was_asked_and_no_more() -> None:
    """The engine's model, the limit and the stream are in the body; None and what is the gateway's are not."""
    bodies: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return await streaming(said("a", "stop"))(request)

    hear_from(handle, max_completion_tokens=5, user="anna", seed=3, metadata={"a": "b"}, store=True)
    assert bodies == [
        {
            "model": "theirs",
            "messages": [{"role": "user", "content": "abcdefgh"}],
            "max_tokens": 5,
            "seed": 3,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


def test_connection_is_used_again_after_a_whole_answer_only() -> None:
    """A stream that was read to its end gives its connection back; one that was closed early does not."""
    peers: list[Any] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: " + json.dumps(said("a")).encode() + b"\n\n")
        await asyncio.sleep(0.3)
        await response.write(b"data: " + json.dumps(said("b", "stop")).encode() + b"\n\ndata: [DONE]\n\n")
        return response

    async def main() -> None:
        async with served(handle) as connection:
            await hear(connection.chat(chat_request()))
            stream = connection.chat(chat_request())
            await anext(stream)
            await stream.aclose()
            await hear(connection.chat(chat_request()))

    asyncio.run(main())
    assert peers[0] == peers[1]
    assert peers[1] != peers[2]


def test_older_logprobs_are_read() -> None:
    """The completions' own form of log probabilities and the chat form both come through a completion."""
    old = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5, "b": -1.5}]}
    new = {"content": [{"token": "c", "logprob": None, "bytes": [99], "top_logprobs": []}]}
    choices = [{"index": 0, "text": "a", "logprobs": old}, {"index": 0, "text": "c", "logprobs": new}]
    end = {"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}

    async def main() -> Heard:
        async with served(streaming(*({"choices": [choice]} for choice in choices), end)) as connection:
            return await hear(connection.complete(completion_request(logprobs=2), [1, 2, 3]))

    heard = asyncio.run(main())
    entries = [entry for delta in heard.deltas for entry in delta.logprobs]
    assert [(e.token, e.logprob, len(e.top)) for e in entries] == [("a", -0.5, 2), ("c", -9999.0, 0)]
    assert heard.usage == Usage(3, 2, estimated=True)


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {"data": [{"index": 0, "embedding": [0.0, 0.0]}]},
        {"data": [{"index": 0, "embedding": "AAAA"}]},
        {"data": [{"index": 0, "embedding": [0.1] * 5000}]},
        {},
        [],
    ],
)
def test_bad_vectors_are_a_failed_engine(answer: Any) -> None:
    """Vectors that are missing, without direction, unreadable or over the size limit fail the call."""

    async def main() -> None:
        async with served(answering(200, answer)) as connection:
            with pytest.raises(EngineFailed):
                await connection.embed(["a"], None)

    asyncio.run(main())


def test_vectors_come_in_order_and_at_unit_length() -> None:
    """Vectors are put in the order of their inputs and made as long as the contract says."""
    data = [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [3.0, 4.0]}]

    async def main() -> None:
        async with served(answering(200, {"data": data})) as connection:
            found = await connection.embed(["abcd", [1, 2]], None)
            assert found.vectors == ((0.6, 0.8), (0.0, 1.0))
            assert found.usage == Usage(3, estimated=True)

    asyncio.run(main())
