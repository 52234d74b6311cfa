"""A link between the core and one worker: messages both ways over a socket, answered in any order.

A message is a JSON array: `[number, kind, …]`, where an answer is asked for by a number above 0, and the answer is
`[-number, value]` or `[-number, null, error]`. All that is sent in one turn of the event loop goes as one frame, an
array of messages after its length in four bytes: where many requests run, many share a system call on each side.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final, TypeAlias, cast

import orjson

from freehold.errors import AuditUnavailable, FreeholdError
from freehold.workers.wire import error_of, wire_of_error

Heard: TypeAlias = Callable[[int, str, Sequence[Any]], None]
"""Is told each message of the other side: the number under which to answer, 0 for none, the kind and the values."""

_LENGTH: Final = Struct("!I")


class Link(asyncio.Protocol):
    """One end of a link.

    Args:
        heard: told of each message. It answers by `answer` or `fail`.
        lost: called once, when the other side is gone; whatever was asked fails then.
    """

    def __init__(self, heard: Heard, lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._out: list[bytes] = []
        self._in = bytearray()
        self.closed = False

    def post(self, kind: str, *values: Any) -> None:
        """Send a message that is not answered. Where the other side is gone nothing happens.

        Raises:
            TypeError: a value is none that JSON has.
        """
        self._send((0, kind, *values))

    def ask(self, kind: str, *values: Any) -> asyncio.Future[Any]:
        """Send a message; the future has the answer.

        It fails with what the other side says went wrong, or with AuditUnavailable where the other side is gone.

        Raises:
            TypeError: a value is none that JSON has.
        """
        waiter: asyncio.Future[Any] = self._loop.create_future()
        if self.closed:
            waiter.set_exception(gone())
            return waiter
        number = next(self._numbers)
        self._send((number, kind, *values))
        self._asked[number] = waiter
        return waiter

    def answer(self, number: int, value: Any = None) -> None:
        """Answer a message."""
        if number:
            self._send((-number, value))

    def fail(self, number: int, error: FreeholdError) -> None:
        """Tell what went wrong with a message."""
        if number:
            self._send((-number, None, wire_of_error(error)))

    def close(self) -> None:
        """Send what is to be sent, and end the link."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._in += data
        start = 0
        while len(self._in) >= start + 4:
            end = start + 4 + _LENGTH.unpack_from(self._in, start)[0]
            if len(self._in) < end:
                break
            with memoryview(self._in) as held:
                messages = orjson.loads(held[start + 4 : end])
            start = end
            for number, *rest in messages:
                if number < 0:
                    self._answered(-number, *rest)
                else:
                    self._heard(number, rest[0], rest[1:])
        del self._in[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        del exc  # whatever it was, the other side is gone
        self.closed = True
        asked, self._asked = self._asked, {}
        for waiter in asked.values():
            if not waiter.done():
                waiter.set_exception(gone())
                waiter.exception()  # whoever waits is told; where nobody does any more, that is no defect
        self._lost()

    def _answered(self, number: int, value: Any, error: Any = None) -> None:
        waiter = self._asked.pop(number, None)
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(value)
        else:
            waiter.set_exception(error_of(error))
            waiter.exception()

    def _send(self, message: Sequence[Any]) -> None:
        if self.closed:
            return
        data = orjson.dumps(message)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None and not self.closed:
            frame = b"[" + b",".join(out) + b"]"
            self._transport.write(_LENGTH.pack(len(frame)) + frame)


def gone() -> AuditUnavailable:
    """What whoever asked is told when the other side is gone."""
    return AuditUnavailable("The server is not available at the moment; please try again.")
