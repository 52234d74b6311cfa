"""One request on a caller's connection and the answer to it: uvicorn's own, with less work for what nearly all are.

A request's messages are found without an event to wait for where its body came with its head, names of headers are
looked at once and not with every answer, and the head of an answer goes out with the first of its body.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from starlette.types import Message, Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HEADER_RE, STATUS_LINE, RequestResponseCycle

Headers: TypeAlias = list[tuple[bytes, bytes]]

_CONTROLS: Final = bytes(set(range(32)) - {9}) + b"\x7f"
"""What no line of a head may hold, but for the two that end it."""
_LENGTH: Final = b"content-length: "
_ENCODING: Final = b"transfer-encoding: "
_CONNECTION: Final = b"connection: "
_STEERING: Final = frozenset({_LENGTH, _ENCODING, _CONNECTION})
"""The beginnings of headers that say how an answer is sent."""
_MOST_NAMES: Final = 512
_WITHOUT_BODY: Final = (204, 304)
_UNEXPECTED: Final = "Expected ASGI message '{}', but got '{}'."


class Way(Protocol):
    """What an answer is written to; see `freehold.api.connection.Gathering`."""

    def hold(self, data: bytes) -> None:
        """Send data with what follows it."""

    def write(self, data: bytes) -> None:
        """Send data at the end of this turn of the event loop."""

    def finish(self, data: bytes) -> None:
        """Send data, the last of an answer, at once."""

    def close(self) -> None:
        """Close the connection after what was written."""

    def is_closing(self) -> bool:
        """Whether it is closed, or is about to be."""


class _Lines:
    """The beginnings of headers' lines, by the names; and the headers of every answer, rendered once a second."""

    def __init__(self) -> None:
        self._beginnings: dict[bytes, bytes] = {}
        self._default: Headers = []
        self._default_lines = b""

    def beginning(self, name: bytes) -> bytes:
        """A header's line up to its value.

        Raises:
            RuntimeError: that is no name.
        """
        found = self._beginnings.get(name)
        if found is None:
            if HEADER_RE.search(name):
                raise RuntimeError("Invalid HTTP header name.")
            found = name.lower() + b": "
            if len(self._beginnings) < _MOST_NAMES:
                self._beginnings[name] = found
        return found

    def default(self, headers: Headers) -> bytes:
        """The lines of headers that are the same for many answers; none of them steers."""
        if headers is not self._default:
            self._default_lines = b"".join(self.beginning(name) + value + b"\r\n" for name, value in headers)
            self._default = headers
        return self._default_lines


_LINES: Final = _Lines()


class Exchange(RequestResponseCycle):
    """One request and its answer.

    Args:
        scope: of the request.
        way: what the answer is written to.
        flow: tells whether there is room for it.
        default_headers: what every answer has.
        wants_continue: whether the caller waits to be told to send the body.
        keep_alive: whether the connection goes on after it.
        on_end: called when the answer has been sent.
        tasks: those that serve requests.
    """

    logger = logging.getLogger("uvicorn.error")
    task: "asyncio.Task[None] | None" = None

    def __init__(  # `RequestResponseCycle` takes more, which is not used
        self,
        scope: Scope,
        way: Way,
        flow: FlowControl,
        default_headers: Headers,
        *,
        wants_continue: bool,
        keep_alive: bool,
        on_end: Callable[[], None],
        tasks: "set[asyncio.Task[None]]",
    ) -> None:
        self.scope = scope  # type: ignore[assignment]  # Starlette's word for it
        self.transport = way  # type: ignore[assignment]  # as much of one as an answer needs
        self.flow = flow
        self.default_headers = default_headers
        self.on_response = on_end
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = wants_continue
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.chunked_encoding = None
        self.expected_content_length = 0
        self._way = way
        self._tasks = tasks
        self._pieces: list[bytes] = []
        self._size = 0
        self._news = False
        self._event: asyncio.Event | None = None

    async def run_asgi(self, app: Any) -> None:
        """Have the request served; whatever goes wrong is logged, and told if it can be."""
        try:
            await super().run_asgi(app)
        finally:
            if self.task is not None:
                self._tasks.discard(self.task)
                self.task = None

    # What the connection tells

    @property
    def message_event(self) -> "Exchange":  # type: ignore[override]  # what uvicorn has as an event of asyncio
        """What is `set` when there is something to receive."""
        return self

    def set(self) -> None:
        """Wake who waits for a message."""
        self._news = True
        if self._event is not None:
            self._event.set()

    def take(self, piece: bytes) -> None:
        """Take a piece of the request's body; where much of it waits, no more is read."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.set()

    # ASGI

    async def receive(self) -> Message:  # type: ignore[override]  # Starlette's word for it
        """The next of the request's body, or that the caller has gone or has its answer."""
        if self.waiting_for_100_continue and not self._way.is_closing():
            self._way.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            if self.flow.read_paused:
                self.flow.resume_reading()
            if not self._news:
                if self._event is None:
                    self._event = asyncio.Event()
                await self._event.wait()
            self._news = False
            if self._event is not None:
                self._event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        pieces, self._pieces, self._size = self._pieces, [], 0
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:  # type: ignore[override]  # Starlette's word for it
        """Send the head of the answer, or more of its body.

        Raises:
            RuntimeError: that is not what is to be sent now.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(_UNEXPECTED.format("http.response.start", kind))
            self._begin(message)
        elif self.response_complete:
            raise RuntimeError(f"Unexpected ASGI message '{kind}' sent, after response already completed.")
        elif kind != "http.response.body":
            raise RuntimeError(_UNEXPECTED.format("http.response.body", kind))
        else:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))

    def _begin(self, message: Message) -> None:
        """Write the head."""
        self.response_started = True
        self.waiting_for_100_continue = False
        status = message["status"]
        parts = [STATUS_LINE[status], _LINES.default(self.default_headers)]
        lines = 2 + len(self.default_headers)
        closes = False
        beginning = _LINES.beginning
        for name, value in message.get("headers", ()):
            start = beginning(name)
            if start in _STEERING and self._steered(start, value):
                closes = True
            parts += (start, value, b"\r\n")
            lines += 1
        if not self.keep_alive and not closes:
            parts.append(b"connection: close\r\n")
            lines += 1
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _WITHOUT_BODY:
            self.chunked_encoding = True
            parts.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 * lines:
            raise RuntimeError("Invalid HTTP header value.")
        if self.expected_content_length:
            self._way.hold(head)
        else:
            self._way.write(head)

    def _steered(self, start: bytes, value: bytes) -> bool:
        """Do as a header says; whether it ends the connection."""
        if start == _LENGTH and self.chunked_encoding is None:
            self.expected_content_length = int(value.decode())
            self.chunked_encoding = False
        elif start == _ENCODING and value.lower() == b"chunked":
            self.expected_content_length = 0
            self.chunked_encoding = True
        elif start == _CONNECTION and b"close" in [token.lower().strip() for token in value.split(b",")]:
            self.keep_alive = False
            return True
        return False

    def _go_on(self, body: bytes, *, more: bool) -> None:
        """Write more of the body, the last of it if there is no `more`."""
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        elif len(body) > self.expected_content_length:
            raise RuntimeError("Response content longer than Content-Length")
        else:
            self.expected_content_length -= len(body)
        if more:
            if body:
                self._way.write(body)
            return
        self._way.finish(body)
        if self.expected_content_length != 0:
            raise RuntimeError("Response content shorter than Content-Length")
        self.response_complete = True
        self.set()
        if not self.keep_alive:
            self._way.close()
        self.on_response()
