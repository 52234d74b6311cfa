"""Answers: one JSON object, or a stream of server-sent events. Both know how to end badly."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from starlette.types import Send

from freehold.api.dialect import Dialect, error_body, error_headers
from freehold.errors import FreeholdError


async def send_json(send: Send, status: int, body: Any, headers: dict[str, str]) -> None:
    """Send a whole answer."""
    data = orjson.dumps(body)
    await _start(send, status, b"application/json", headers, length=len(data))
    await send({"type": "http.response.body", "body": data})


async def send_error(send: Send, error: FreeholdError, dialect: Dialect, headers: dict[str, str]) -> None:
    """Send an error as a whole answer."""
    await send_json(send, error.status, error_body(error, dialect), {**headers, **error_headers(error)})


async def send_events(send: Send, events: AsyncGenerator[dict[str, Any]], headers: dict[str, str]) -> None:
    """Send a stream to its end, closed by `[DONE]`. Raises whatever `events` raises; the stream is then open."""
    await _start(send, 200, b"text/event-stream; charset=utf-8", {**headers, "cache-control": "no-cache"})
    async with aclosing(events):
        async for event in events:
            data = b"data: " + orjson.dumps(event) + b"\n\n"
            await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def send_error_event(send: Send, error: FreeholdError, dialect: Dialect) -> None:
    """End an open stream with an error; there is no `[DONE]` after it."""
    data = b"data: " + orjson.dumps(error_body(error, dialect)) + b"\n\n"
    await send({"type": "http.response.body", "body": data})


async def _start(
    send: Send, status: int, media_type: bytes, headers: dict[str, str], *, length: int | None = None
) -> None:
    raw = [(b"content-type", media_type)]
    if length is not None:
        raw.append((b"content-length", str(length).encode()))
    raw += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
