"""The bytes of answers: JSON objects, server-sent events, and errors in either."""

from typing import Any

import orjson
from starlette.types import Send

from freehold.api.dialect import Dialect, error_body, error_headers
from freehold.errors import FreeholdError

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
BYTES = b"application/octet-stream"
DONE = b"data: [DONE]\n\n"
"""What a stream ends with, if it ends well."""


def event_bytes(event: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(event) + b"\n\n"


def named_event_bytes(event: dict[str, Any]) -> bytes:
    """One server-sent event that has its type as its name, too."""
    kind: str = event["type"]
    return b"event: " + kind.encode() + b"\n" + event_bytes(event)


async def start(
    send: Send, status: int, media_type: bytes, headers: dict[str, str], *, length: int | None = None
) -> None:
    """Send the head of an answer; `length` of its body where that is known."""
    raw = [(b"content-type", media_type)]
    if length is not None:
        raw.append((b"content-length", b"%d" % length))
    raw += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def send_error(send: Send, error: FreeholdError, dialect: Dialect, headers: dict[str, str]) -> None:
    """Send an error as a whole answer."""
    data = orjson.dumps(error_body(error, dialect))
    await start(send, error.status, JSON, {**headers, **error_headers(error)}, length=len(data))
    await send({"type": "http.response.body", "body": data})


async def send_error_event(send: Send, error: FreeholdError, dialect: Dialect) -> None:
    """End an open stream with an error; there is no `[DONE]` after it."""
    await send({"type": "http.response.body", "body": event_bytes(error_body(error, dialect))})
