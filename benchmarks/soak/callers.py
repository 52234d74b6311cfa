"""Callers of a soak: connections that send what was drawn, behave as they are told, and remember what came back."""

import asyncio
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from socket import AF_INET, SO_LINGER, SO_RCVBUF, SOCK_STREAM, SOL_SOCKET
from socket import socket as Socket  # noqa: N812  # a class, in lower case for history's sake
from struct import pack
from typing import Any, Final

import httptools

from benchmarks.soak.mixture import Ask
from freehold.cli.bench_load import Place

IDLE_S: Final = 2.0
"""An idle connection is used again for so long: the server closes its own after five, and nobody may be in between."""
STALL_S: Final = 180.0
"""Whoever waits for an answer longer than this has found a request that hangs."""
MOST_TOLD: Final = 20
_SLOW_BUFFER: Final = 4096
_TAIL_BYTES: Final = 400


@dataclass(slots=True)
class Answer:
    """One answer, as far as it came.

    Args:
        status: of HTTP.
        request_id: the server's name for the request.
        whole: whether its last byte came.
        stream: whether it is one of server-sent events.
        tail: the last bytes of its body.
    """

    status: int = 0
    request_id: str = ""
    whole: bool = False
    stream: bool = False
    tail: bytes = b""


class Caller(asyncio.Protocol):
    """One connection, with one `Ask` at a time on it."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._parser: Any = None
        self._answers: list[Answer] = []
        self._answer = Answer()
        self._expected = self._read = 0
        self._leave_at: int | None = None
        self._slow_s: float | None = None
        self._ended: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether another request can go over it."""
        return (
            self._transport is not None
            and not self._transport.is_closing()
            and time.monotonic() - self.idle_since < IDLE_S
            and (self._parser is None or bool(self._parser.should_keep_alive()))
        )

    async def exchange(self, ask: Ask) -> list[Answer]:
        """Send a request or several, and read what the manner says; the answers, as far as they were read.

        Raises:
            TimeoutError: nothing ended it.
        """
        manner = ask.manner
        self._answers, self._answer, self._read = [], Answer(), 0
        self._expected, self._leave_at, self._slow_s = ask.answers, manner.leave_after_bytes, manner.slow_s
        self._parser = httptools.HttpResponseParser(self)
        self._ended = self._loop.create_future()
        self._transport.write(ask.data)
        leaving = manner.leave_after_s
        timer = None if leaving is None else self._loop.call_later(leaving, self._end)
        try:
            async with asyncio.timeout(STALL_S):
                await self._ended
        finally:
            self._ended = None
            for handle in (timer, self._timer):
                if handle is not None:
                    handle.cancel()
            if manner.fresh or len(self._answers) < ask.answers:
                self.close(reset=manner.reset)
        self.idle_since = time.monotonic()
        return [*self._answers, self._answer] if self._answer.status else self._answers

    def close(self, *, reset: bool = False) -> None:
        """Close the connection, by a reset if that is wanted."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if reset:
            transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._read += len(data)
        if self._parser is None:
            return
        with suppress(httptools.HttpParserError):  # an answer that is cut is seen by what it lacks
            self._parser.feed_data(data)
        if len(self._answers) >= self._expected or (self._leave_at is not None and self._read >= self._leave_at):
            self._end()
        elif self._slow_s is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._timer = self._loop.call_later(self._slow_s, self._transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the signature is the base's
        """See `asyncio.Protocol`."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._end()

    # What the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note who the answer is for, and what it is."""
        match name.lower():
            case b"x-request-id":
                self._answer.request_id = value.decode()
            case b"content-type":
                self._answer.stream = value.startswith(b"text/event-stream")

    def on_headers_complete(self) -> None:
        """Note the status."""
        self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Keep the end."""
        answer = self._answer
        answer.tail = (answer.tail + data)[-_TAIL_BYTES:]

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._answer.whole = True
        self._answers.append(self._answer)
        self._answer = Answer()


@dataclass(slots=True)
class Tally:
    """What the callers of a run did and saw.

    Args:
        asks: how many were begun.
        least, most: by key, how many receipts its requests have.
        answered: by request id, the status of a whole answer that was read whole.
        seen: ids of requests whose answers were not read to their ends.
        statuses: by kind of request, how often which status came; 0 where nothing came.
        left: how many callers left before the end of their answers.
        cut: streams that ended with an error.
        unreachable: how often no connection was to be had.
        wrong: what should not be, the first of each kind.
        wrong_count: how often.
    """

    asks: int = 0
    least: Counter[str | None] = field(default_factory=Counter)
    most: Counter[str | None] = field(default_factory=Counter)
    answered: dict[bytes, int] = field(default_factory=dict)
    cut_ids: set[bytes] = field(default_factory=set)
    seen: set[bytes] = field(default_factory=set)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    left: int = 0
    cut: int = 0
    unreachable: int = 0
    wrong: list[str] = field(default_factory=list)
    wrong_count: int = 0

    def begin(self, ask: Ask) -> None:
        """A request is about to be sent over a connection that is open."""
        self.asks += 1
        self.least[ask.key] += ask.least
        self.most[ask.key] += ask.most

    def end(self, ask: Ask, answers: list[Answer]) -> None:
        """It is over: note what came."""
        manner = ask.manner
        statuses = self.statuses.setdefault(ask.kind, Counter())
        leaver = manner.leave_after_s is not None or manner.leave_after_bytes is not None
        whole = [answer for answer in answers if answer.whole]
        for answer in answers:
            statuses[answer.status] += 1
            self._note(ask, answer)
        if len(whole) < ask.answers:
            if leaver:
                self.left += 1
                statuses[0] += not answers
            elif ask.least == ask.most:
                statuses[0] += 1
                self.fault(f"{ask.kind}: the connection was lost with {len(whole)} of {ask.answers} answers read")

    def fault(self, what: str) -> None:
        """Note what should not be."""
        self.wrong_count += 1
        if len(self.wrong) < MOST_TOLD:
            self.wrong.append(what)

    def _note(self, ask: Ask, answer: Answer) -> None:
        if not answer.request_id:
            self.fault(f"{ask.kind}: an answer with status {answer.status} has no x-request-id")
            return
        if answer.status not in ask.statuses:
            self.fault(f"{ask.kind}: status {answer.status}: {answer.tail.decode('utf-8', 'replace')}")
        if ask.most == 0 or (ask.least < ask.most and answer.status == 400):
            return  # what is no request has an answer, and no receipt
        name = bytes.fromhex(answer.request_id.removeprefix("req_"))
        if not answer.whole:
            self.seen.add(name)
            return
        self.answered[name] = answer.status
        if answer.stream and not answer.tail.endswith(b"data: [DONE]\n\n"):
            self.cut += 1
            self.cut_ids.add(name)
            if b'"error"' not in answer.tail:
                self.fault(f"{ask.kind}: a stream ended with neither [DONE] nor an error")


class Crowd:
    """Callers of one server, and the connections that they keep.

    Args:
        place: where it listens.
        tally: what they saw.
    """

    def __init__(self, place: Place, tally: Tally) -> None:
        self.tally = tally
        self._place = place
        self._kept: deque[Caller] = deque()

    async def go(self, ask: Ask) -> None:
        """Do what one caller does."""
        try:
            caller = await self._caller(ask)
        except OSError:
            self.tally.unreachable += 1
            return
        self.tally.begin(ask)
        try:
            answers = await caller.exchange(ask)
        except TimeoutError:
            self.tally.fault(f"{ask.kind}: no end in {STALL_S:g} s")
            return
        self.tally.end(ask, answers)
        if not ask.manner.fresh and caller.usable:
            self._kept.append(caller)
        else:
            caller.close(reset=ask.manner.reset)

    async def close(self) -> None:
        """Close what was kept."""
        while self._kept:
            self._kept.pop().close()
        await asyncio.sleep(0)

    async def _caller(self, ask: Ask) -> Caller:
        while self._kept and not ask.manner.fresh:
            caller = self._kept.pop()
            if caller.usable:
                return caller
            caller.close()
        loop = asyncio.get_running_loop()
        if ask.manner.slow_s is None:
            _, made = await loop.create_connection(Caller, self._place.host, self._place.port)
            return made
        wire = Socket(AF_INET, SOCK_STREAM)
        wire.setblocking(False)
        wire.setsockopt(SOL_SOCKET, SO_RCVBUF, _SLOW_BUFFER)
        await loop.sock_connect(wire, (self._place.host, self._place.port))
        _, made = await loop.create_connection(Caller, sock=wire)
        return made
