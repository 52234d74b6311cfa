"""A small HTTP/1.1 server on one event loop, for answers that are known as fast as they can be written.

An answer is a plain generator of `Step`s, driven without a task: what is ready at once is written at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import TypeAlias, cast

import httptools

Step: TypeAlias = tuple[float, bytes]
"""Bytes to write, and seconds to wait after them."""
Steps: TypeAlias = Generator[Step]
Respond: TypeAlias = Callable[[str, str, bytes], Steps]
"""Method, path and body → the answer, from its status line on."""

FLUSH_BYTES = 64 * 1024
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"
_REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 500: b"Internal Server Error"}


def plain(status: int, body: bytes) -> bytes:
    """A whole answer with a JSON body."""
    return b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        _REASONS[status],
        len(body),
        body,
    )


def chunk(*events: bytes) -> bytes:
    """Events of a stream, as one chunk of HTTP; as many as are ready at once may share it."""
    body = b"".join(b"data: %b\n\n" % event for event in events)
    return b"%x\r\n%b\r\n" % (len(body), body)


class EchoProtocol(asyncio.Protocol):
    """One connection. Requests on it are answered one after the other; when it goes, so does its answer."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[str, str, bytes]] = deque()
        self._url = b""
        self._body: list[bytes] = []
        self._steps: Steps | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by class

    def data_received(self, data: bytes) -> None:
        """Read on; what is not HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Stop the answer that nobody reads any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._steps is not None:
            self._steps.close()

    def pause_writing(self) -> None:
        """The other side reads slowly: wait."""
        self._full = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._full = False
        if self._timer is None:
            self._advance()

    # What the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = b""
        self._body = []

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole: answer it, or keep it until the one before is answered."""
        path = self._url.partition(b"?")[0].decode("latin-1")
        self._waiting.append((self._parser.get_method().decode("latin-1"), path, b"".join(self._body)))
        if self._steps is None:
            self._advance()

    # Writing

    def _advance(self) -> None:
        """Write all that is ready, answer after answer, until one waits or the other side does not read."""
        self._timer = None
        while self._steps is not None or self._waiting:
            if self._steps is None:
                self._steps = self._respond(*self._waiting.popleft())
            if not self._write_ready(self._steps):
                return
            self._steps = None

    def _write_ready(self, steps: Steps) -> bool:
        """Write what the answer has ready; whether it has come to its end."""
        ready: list[bytes] = []
        size = 0
        for pause_s, data in steps:
            ready.append(data)
            size += len(data)
            if pause_s > 0 or size >= FLUSH_BYTES:
                self._transport.write(b"".join(ready))
                ready = []
                size = 0
                if pause_s > 0:
                    self._timer = self._loop.call_later(pause_s, self._advance)
                    return False
                if self._full:
                    return False
        self._transport.write(b"".join(ready))
        return True
