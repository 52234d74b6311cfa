"""A connection's transport: it sends what is written together as one packet, and parts from callers who still send.

A server that closes a socket with unread bytes in it has the caller's system told so by a reset. The caller then finds
its own writing broken, and often never reads the answer that was sent before: a body that is too large brings a broken
pipe instead of the 413. So the server lingers, as nginx does: it ends its own side, reads on and throws away what
comes until the caller closes, within the bounds of `Patience`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

GATHERED_BYTES: Final = 64 * 1024
"""More than this is sent at once."""
UNTAKEN_S: Final = 30.0
"""A connection that is to be closed and takes nothing of what is left to send for this long is cut off, in seconds."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How much of what a caller goes on sending behind its answer is read, and thrown away.

    Args:
        size: bytes in all. Twice the largest part of an upload, which is the largest body that our own protocols ask
            for; a caller that sends more is not waiting for its answer.
        silence_s: seconds without a byte. A round trip over any network is shorter; nginx has the same.
        time_s: seconds in all. With 64 MiB they ask for two mebibytes a second; nginx has the same.
    """

    size: int = 128 * 1024 * 1024
    silence_s: float = 5.0
    time_s: float = 30.0


class LingeringTransport:
    """A transport that gathers and lingers. Everything else is the connection's own.

    A head and a short body are written apart, which would cost the caller and the server a system call each, and both a
    wake-up. They go at the end of the turn of the event loop, as one packet where they fit.

    Args:
        transport: the connection's.
        loop: the event loop.
        sending: whether the caller has not sent yet all that it said it would.
        patience: how long to linger.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        sending: Callable[[], bool],
        patience: Patience,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._sending = sending
        self._patience = patience
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._taken_bytes = 0
        self._until = 0.0
        self.lingering = False
        """Whether nothing more is sent, and what comes is thrown away."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data at the end of this turn; at once where there is much of it."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > GATHERED_BYTES:
            self._flush()

    def is_closing(self) -> bool:
        """Whether nothing more is to be sent."""
        return self.lingering or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection behind what was written; linger if the caller still sends."""
        if self._sending():
            self.linger()
        else:
            self.drop()

    def linger(self) -> None:
        """End this side behind what was written, and read on without looking, until the caller closes or for a while.

        Where one side cannot be ended alone, as over TLS, the caller goes by the length of the answer.
        """
        if self.is_closing():
            return
        self._flush()
        self.lingering = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._until = self._loop.time() + self._patience.time_s
        self._look(-1)

    def hurry(self, time_s: float) -> None:
        """Linger no longer than so many seconds from now, or from when it begins."""
        self._patience = replace(self._patience, time_s=min(time_s, self._patience.time_s))
        if self.lingering:
            self._until = min(self._until, self._loop.time() + time_s)
            self._loop.call_later(time_s, self._look, -1)

    def throw_away(self, data: bytes) -> None:
        """Count what came behind the answer; too much of it ends the connection."""
        self._taken_bytes += len(data)
        if self._taken_bytes > self._patience.size:
            self._transport.abort()

    def drop(self) -> None:
        """Close the connection behind what was written, or once its caller reads no more of that; do not linger."""
        self._flush()
        self._transport.close()
        self._await_taken(None)

    def _look(self, before: int) -> None:
        """End lingering if its time is over or nothing has come since there were so many bytes; else look again."""
        left_s = self._until - self._loop.time()
        if self._transport.is_closing():
            return
        if left_s <= 0:
            self._transport.abort()
        elif self._taken_bytes == before:
            self.drop()
        else:
            self._loop.call_later(min(left_s, self._patience.silence_s), self._look, self._taken_bytes)

    def _await_taken(self, before: int | None) -> None:
        """Look from time to time whether the caller still reads what is left."""
        left = self._transport.get_write_buffer_size()
        if left and left == before:
            self._transport.abort()
        elif left:
            self._loop.call_later(UNTAKEN_S, self._await_taken, left)

    def _flush(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self.is_closing():
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))
