"""The load generator of `freehold bench` and of `benchmarks/`: many HTTP requests on kept connections, timed.

Connections are protocols of the event loop that call back: the generator shares the machine with what it measures, so
it must cost little. Closed loop: each connection asks again as soon as it has its answer. Open loop: requests are due
at fixed times whatever the server does, and their time runs from when they were due, so that a server that stalls
cannot hide the requests that it kept from being sent (no coordinated omission).
"""

import asyncio
import os
import re
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import httptools
import orjson

TEXT: Final = re.compile(rb'"content":\s*"((?:[^"\\]|\\.)+)"')
"""A piece of text in an event of a stream."""
_DONE: Final = b"data: [DONE]"
_ERROR_BYTES: Final = 2000
_STALL_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens: a port of the loopback address or another host, or a Unix socket."""

    host: str = "127.0.0.1"
    port: int = 0
    socket: Path | None = None
    tls: bool = False

    async def connect(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Make a connection; raises OSError where there is none to be had."""
        loop = asyncio.get_running_loop()
        if self.socket is not None:
            await loop.create_unix_connection(protocol, str(self.socket))
        else:
            await loop.create_connection(protocol, self.host, self.port, ssl=True if self.tls else None)

    def request(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
        """A POST as it goes over the wire."""
        data = orjson.dumps(body)
        lines = [f"POST {path} HTTP/1.1", f"host: {self.host}:{self.port}", "content-type: application/json"]
        lines += [f"content-length: {len(data)}", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


@dataclass(slots=True)
class Reply:
    """One request's answer. Times are seconds of `time.perf_counter`.

    Args:
        due: when it was to be sent; what its time runs from.
        status: of HTTP; 0 where the connection was lost before its end.
        first: when the first piece of text of a stream came; None where none did.
        ended: when its last byte came.
        body: all of it for a stream or an error, else empty.
    """

    due: float
    status: int = 0
    first: float | None = None
    ended: float = 0.0
    body: bytes = b""


class Connection(asyncio.Protocol):
    """One kept connection, with one request at a time on it."""

    def __init__(self, place: Place, *, keep_body: bool) -> None:
        self._place = place
        self._keep = keep_body
        self._transport: Any = None
        self._parser = httptools.HttpResponseParser(self)
        self._reply: Reply | None = None
        self._then: Callable[[Connection, Reply], None] | None = None
        self._pieces: list[bytes] = []
        self._reusable = True

    async def open(self) -> None:
        """Connect; raises OSError."""
        self._parser = httptools.HttpResponseParser(self)
        self._reusable = True
        await self._place.connect(lambda: self)

    def send(self, request: bytes, due: float, then: Callable[["Connection", Reply], None]) -> None:
        """Send a request; `then` is called with its answer."""
        self._reply, self._then, self._pieces = Reply(due), then, []
        if self._transport is None or self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self._finish, 0)
        else:
            self._transport.write(request)

    @property
    def usable(self) -> bool:
        """Whether the next request can go over it."""
        return self._reusable and self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Close it; a request that is under way counts as lost."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the signature is the base's
        """See `asyncio.Protocol`."""
        self._finish(0)

    def on_body(self, body: bytes) -> None:
        """A piece of the answer's body."""
        if self._keep or self._parser.get_status_code() >= 300:
            self._pieces.append(body)
            reply = self._reply
            if self._keep and reply is not None and reply.first is None and TEXT.search(body):
                reply.first = time.perf_counter()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._reusable = self._parser.should_keep_alive()
        self._finish(self._parser.get_status_code())

    def _finish(self, status: int) -> None:
        reply, then = self._reply, self._then
        if reply is None or then is None:
            return
        self._reply = self._then = None
        reply.ended, reply.status, reply.body = time.perf_counter(), status, b"".join(self._pieces)
        then(self, reply)


@dataclass(slots=True)
class Tally:
    """What a run came to. Durations are seconds, from when a request was due until its last byte.

    Args:
        seconds: how long requests were sent and waited for.
        statuses: how many answers had which status; 0 is a connection that was lost.
        durations: of the answers with status 200.
        firsts: of those that were streams: until the first piece of text.
        pieces: how many pieces of text each of those had.
        broken: streams that ended without `[DONE]`, or whose text was not what was expected.
        errors: the first error body for each status.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    durations: "array[float]" = field(default_factory=lambda: array("d"))
    firsts: "array[float]" = field(default_factory=lambda: array("d"))
    pieces: "array[int]" = field(default_factory=lambda: array("q"))
    broken: int = 0
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def good(self) -> int:
        """Answers with status 200."""
        return len(self.durations)

    @property
    def failed(self) -> int:
        """All others, and streams that were broken."""
        return sum(self.statuses.values()) - self.good + self.broken

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds if self.seconds else 0.0

    def add(self, reply: Reply, expected: bytes | None) -> None:
        """Count an answer; `expected` is the text that a stream must have, where that is known."""
        self.statuses[reply.status] += 1
        if reply.status != 200:
            self.errors.setdefault(reply.status, reply.body[:_ERROR_BYTES].decode("utf-8", "replace"))
            return
        self.durations.append(reply.ended - reply.due)
        if reply.body:
            texts = TEXT.findall(reply.body)
            self.pieces.append(len(texts))
            if reply.first is not None:
                self.firsts.append(reply.first - reply.due)
            self.broken += _DONE not in reply.body or (expected is not None and b"".join(texts) != expected)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies (nearest rank); NaN where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of whom.

    Args:
        place: the server.
        request: as it goes over the wire.
        stream: whether the answer is a stream, which is read and checked.
        expected: the text that each stream must have, where that is known.
    """

    place: Place
    request: bytes
    stream: bool = False
    expected: bytes | None = None


async def closed_loop(load: Load, connections: int, *, seconds: float, most: int | None = None) -> Tally:
    """Ask on each connection as soon as its last answer is there, for so long or until so many were sent.

    Raises:
        OSError: the server cannot be reached.
    """
    tally, finished = Tally(), asyncio.Event()
    sent = running = 0
    tasks: set[asyncio.Task[None]] = set()
    started = time.perf_counter()
    until = started + seconds

    def next_one(connection: Connection) -> None:
        nonlocal sent, running
        now = time.perf_counter()
        if now >= until or (most is not None and sent >= most):
            running -= 1
            if not running:
                finished.set()
            return
        sent += 1
        connection.send(load.request, now, answered)

    def answered(connection: Connection, reply: Reply) -> None:
        tally.add(reply, load.expected)
        if connection.usable:
            next_one(connection)
        else:
            task = asyncio.create_task(again(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def again(connection: Connection) -> None:
        connection.close()
        await _reopen(connection)
        next_one(connection)

    async with _Pool(load, connections) as pool:
        started = time.perf_counter()
        until, running = started + seconds, connections
        for connection in pool.all:
            next_one(connection)
        await asyncio.wait_for(finished.wait(), seconds + _STALL_S)
        tally.seconds = time.perf_counter() - started
    return tally


async def open_loop(load: Load, rate: float, *, seconds: float, most_connections: int = 256) -> Tally:
    """Send `rate` requests a second, evenly, whatever the server does; those for which there is no connection wait.

    Raises:
        OSError: the server cannot be reached.
    """
    tally, finished = Tally(), asyncio.Event()
    count = max(1, round(rate * seconds))
    waiting: deque[float] = deque()
    answers = 0
    tasks: set[asyncio.Task[None]] = set()

    def answered(connection: Connection, reply: Reply) -> None:
        nonlocal answers
        tally.add(reply, load.expected)
        answers += 1
        if answers == count:
            finished.set()
        if connection.usable:
            give_back(connection)
        else:
            task = asyncio.create_task(again(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def give_back(connection: Connection) -> None:
        if waiting:
            connection.send(load.request, waiting.popleft(), answered)
        else:
            free.append(connection)

    async def again(connection: Connection) -> None:
        connection.close()
        await _reopen(connection)
        give_back(connection)

    def due_now(due: float) -> None:
        if free:
            free.pop().send(load.request, due, answered)
        else:
            waiting.append(due)

    async with _Pool(load, min(most_connections, count)) as pool:
        free = list(pool.all)
        started = time.perf_counter()
        with _Pacer([started + number / rate for number in range(count)], due_now):
            await asyncio.wait_for(finished.wait(), seconds + _STALL_S)
        tally.seconds = time.perf_counter() - started
    return tally


class _Pacer:
    """Calls back in the loop when each moment has come. A thread waits: the loop's own timers count whole milliseconds.

    Args:
        moments: of `time.perf_counter`, in order.
        then: is called with each.
    """

    def __init__(self, moments: Sequence[float], then: Callable[[float], None]) -> None:
        self._moments, self._then = iter(moments), then
        self._all = moments
        self._stopped = threading.Event()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._read, self._ticked)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        self._thread.join()
        asyncio.get_running_loop().remove_reader(self._read)
        os.close(self._read)
        os.close(self._write)

    def _run(self) -> None:
        for moment in self._all:
            left = moment - time.perf_counter()
            if left > 0:
                time.sleep(left)
            if self._stopped.is_set():
                return
            os.write(self._write, b".")

    def _ticked(self) -> None:
        for _ in os.read(self._read, 65536):
            self._then(next(self._moments))


async def _reopen(connection: Connection) -> None:
    """Connect again, a few times; a server that does not come back loses the next request, which is counted."""
    for _ in range(5):
        try:
            await connection.open()
            return
        except OSError:
            await asyncio.sleep(0.05)


class _Pool:
    """Connections that are open while the block runs."""

    def __init__(self, load: Load, connections: int) -> None:
        self.all = [Connection(load.place, keep_body=load.stream) for _ in range(connections)]

    async def __aenter__(self) -> Self:
        for connection in self.all:
            await connection.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for connection in self.all:
            connection.close()
        await asyncio.sleep(0)
