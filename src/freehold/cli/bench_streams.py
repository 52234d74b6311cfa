"""Streams of a deployment, all at once: tokens, times, and what refused ones said. For `freehold bench engine`.

Token counts are the server's own (`usage`), times the client's. A stream's connection is open before its time begins.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from freehold.cli.bench_load import Connection, Place, Reply
from freehold.cli.output import ErrorAnswer, ServiceUnreachable

CHAT_PATH: Final = "/v1/chat/completions"
_STREAM_TIMEOUT_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where chats are asked for.

    Args:
        place: the server.
        path: of the operation.
        headers: the credential, where it wants one.
        shown: its address as errors name it.
    """

    place: Place
    path: str = CHAT_PATH
    headers: tuple[tuple[str, str], ...] = ()
    shown: str = ""

    @classmethod
    def of_url(cls, url: str, key: str) -> "Endpoint":
        """Of a service's base URL and a key."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        place = Place(parts.hostname or "", parts.port or (443 if tls else 80), tls=tls)
        return cls(place, parts.path.rstrip("/") + CHAT_PATH, (("authorization", f"Bearer {key}"),), url)


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream that went well. Times are seconds from when it was asked for.

    Args:
        first_s: until its first piece of text.
        whole_s: until its last byte.
        prompt_tokens: as the server counts them.
        cached_tokens: how many of these it had read before.
        completion_tokens: likewise.
        text: what it said.
        finish: why it ended.
    """

    first_s: float
    whole_s: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    text: str
    finish: str | None

    @property
    def tokens_per_s(self) -> float:
        """How fast a reader sees it grow, behind its first piece; 0 where it has but one."""
        behind = self.whole_s - self.first_s
        return (self.completion_tokens - 1) / behind if behind > 0 and self.completion_tokens > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Wave:
    """Streams that were asked for at once: those that went well, the errors of the others, and how long all took."""

    streams: tuple[Stream, ...]
    errors: tuple[ErrorAnswer, ...]
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        """Of all streams together."""
        return sum(stream.completion_tokens for stream in self.streams) / self.seconds if self.seconds else 0.0


async def wave(endpoint: Endpoint, bodies: Sequence[Mapping[str, Any]]) -> Wave:
    """Ask for all streams at once and read them to their ends.

    Args:
        endpoint: of whom.
        bodies: a request each; `stream` and the wish for usage are added.

    Raises:
        ServiceUnreachable: nobody listens there.
    """
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    requests = [endpoint.place.request(endpoint.path, {**body, **asked}, dict(endpoint.headers)) for body in bodies]
    connections = [Connection(endpoint.place, keep_body=True) for _ in requests]
    try:
        for connection in connections:
            await connection.open()
    except OSError as exc:
        raise ServiceUnreachable(f"cannot reach the service at {endpoint.shown}; is it running?") from exc
    try:
        started = time.perf_counter()
        async with asyncio.timeout(_STREAM_TIMEOUT_S):
            replies = await asyncio.gather(*(_ask(*pair) for pair in zip(connections, requests, strict=True)))
        seconds = time.perf_counter() - started
    except TimeoutError as exc:
        raise ServiceUnreachable(f"no answer within {_STREAM_TIMEOUT_S:.0f} s; ask for fewer tokens") from exc
    finally:
        for connection in connections:
            connection.close()
    read = [_read(reply) for reply in replies]
    return Wave(
        tuple(each for each in read if isinstance(each, Stream)),
        tuple(each for each in read if isinstance(each, ErrorAnswer)),
        seconds,
    )


async def _ask(connection: Connection, request: bytes) -> Reply:
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def answered(_: Connection, reply: Reply) -> None:
        if not answer.done():
            answer.set_result(reply)

    connection.send(request, time.perf_counter(), answered)
    return await answer


def _read(reply: Reply) -> Stream | ErrorAnswer:
    """What an answer comes to."""
    if reply.status == 0:
        return ErrorAnswer(502, "the service broke off its answer; see the server's log")
    if reply.status != 200:
        return _error(reply.status, reply.body)
    texts, usage, finish = [], None, None
    for line in reply.body.split(b"\n"):
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or data == b"[DONE]":
            continue
        try:
            event = json.loads(data)
        except ValueError:
            return ErrorAnswer(502, "the service's stream is not one of chat completions; is it a Freehold server?")
        if event.get("error"):
            return _error(500, data)
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            texts.append((choice.get("delta") or {}).get("content") or "")
            finish = choice.get("finish_reason") or finish
    if usage is None:
        return ErrorAnswer(502, "the service's stream ended without its usage; see the server's log")
    details = usage.get("prompt_tokens_details") or {}
    return Stream(
        (reply.first or reply.ended) - reply.due,
        reply.ended - reply.due,
        int(usage["prompt_tokens"]),
        int(details.get("cached_tokens") or 0),
        int(usage["completion_tokens"]),
        "".join(texts),
        finish,
    )


def _error(status: int, body: bytes) -> ErrorAnswer:
    """The error that an answer tells of."""
    try:
        error = json.loads(body)["error"]
        return ErrorAnswer(
            status, str(error["message"]), type_name=error.get("type"), param=error.get("param"), code=error.get("code")
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return ErrorAnswer(status, f"the answer (HTTP {status}) is not Freehold's; is this address a Freehold server?")
