"""The load generator: what it sends, counts and times."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from freehold.cli.bench_load import Load, Place, Tally, closed_loop, open_loop, percentile

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
_FRAMES = b'data: {"content": "one "}\n\ndata: {"content":"two"}\n\ndata: [DONE]\n\n'
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(_FRAMES), _FRAMES)
REFUSAL = b'HTTP/1.1 429 Too Many Requests\r\ncontent-length: 13\r\n\r\n{"error":"x"}'

Answering = Callable[[int], Awaitable[bytes | None]]


class Server:
    """Answers each request by its number with what a function says; None closes the connection."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.requests: list[bytes] = []
        self.most_open = self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = await self._answering(len(self.requests))
                if answer is None:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        self._open -= 1
        writer.close()


def _run(answering: Answering, work: Callable[[Load], Awaitable[Tally]], **load: Any) -> tuple[Tally, Server]:
    async def run() -> tuple[Tally, Server]:
        server = Server(answering)
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            place = Place(port=listening.sockets[0].getsockname()[1])
            tally = await work(Load(place, place.request("/path", {"a": 1}, {"authorization": "Bearer k"}), **load))
            await asyncio.sleep(0.05)
            return tally, server

    return asyncio.run(run())


async def _at_once(_: int) -> bytes:
    return WHOLE


def test_a_closed_loop_asks_on_each_connection_until_it_has_enough() -> None:
    """So many requests are sent as were asked for, over so many connections, each with path, header and body."""
    tally, server = _run(_at_once, lambda load: closed_loop(load, 4, seconds=60, most=50))
    assert tally.good == len(server.requests) == 50
    assert tally.failed == 0
    assert server.most_open == 4
    assert server.requests[0].startswith(b"POST /path HTTP/1.1\r\n")
    assert b"authorization: Bearer k\r\n" in server.requests[0]
    assert server.requests[0].endswith(b'{"a":1}')


def test_a_closed_loop_ends_with_its_time() -> None:
    """Without a number it ends when its time is over, and its rate is answers by seconds."""
    tally, _ = _run(_at_once, lambda load: closed_loop(load, 1, seconds=0.2))
    assert tally.seconds >= 0.2
    assert tally.per_second == pytest.approx(tally.good / tally.seconds)


def test_refusals_and_lost_connections_are_counted_and_told() -> None:
    """A refusal counts by its status with its text, a lost connection as 0, and the others go on."""

    async def answering(number: int) -> bytes | None:
        return None if number == 3 else REFUSAL if number % 2 else WHOLE

    tally, _ = _run(answering, lambda load: closed_loop(load, 2, seconds=60, most=10))
    assert tally.statuses == {200: 5, 429: 4, 0: 1}
    assert tally.failed == 5
    assert tally.errors[429] == '{"error":"x"}'


def test_streams_are_read_and_checked() -> None:
    """A stream's pieces are counted and its text compared, whatever white space its events have."""
    tally, _ = _run(_stream, lambda load: closed_loop(load, 1, seconds=60, most=3), stream=True, expected=b"one two")
    assert list(tally.pieces) == [2, 2, 2]
    assert len(tally.firsts) == 3
    assert tally.failed == 0


@pytest.mark.parametrize("expected", [b"one two three", b"two"])
def test_a_stream_that_lost_text_is_broken(expected: bytes) -> None:
    """A stream whose text is not what it must be counts as failed."""
    tally, _ = _run(_stream, lambda load: closed_loop(load, 1, seconds=60, most=2), stream=True, expected=expected)
    assert tally.broken == tally.failed == 2


def test_a_stream_without_its_end_is_broken() -> None:
    """A stream that ends without [DONE] counts as failed."""
    cut = STREAM.replace(b"data: [DONE]\n\n", b"data: {}      ")
    assert len(cut) == len(STREAM)

    async def answering(_: int) -> bytes:
        return cut

    tally, _ = _run(answering, lambda load: closed_loop(load, 1, seconds=60, most=1), stream=True)
    assert tally.broken == 1


async def _stream(_: int) -> bytes:
    return STREAM


def test_an_open_loop_counts_time_from_when_a_request_was_due() -> None:
    """While a server stalls, requests stay due at their times, and their waiting is in their durations."""
    stalled = asyncio.Event()

    async def answering(number: int) -> bytes:
        if number == 1:
            await asyncio.sleep(0.5)
            stalled.set()
        await stalled.wait()
        return WHOLE

    tally, server = _run(answering, lambda load: open_loop(load, 100, seconds=0.4, most_connections=2))
    assert tally.good == len(server.requests) == 40
    waited = sorted(tally.durations)
    assert waited[-1] >= 0.5
    assert sum(each >= 0.1 for each in waited) >= 20  # a generator that waits for answers would tell one


def test_nobody_there_is_an_error() -> None:
    """Where nobody listens, a loop raises what the system says."""
    place = Place(port=1)
    with pytest.raises(OSError, match="Connect"):
        asyncio.run(closed_loop(Load(place, b""), 1, seconds=1))


def test_percentiles_are_values_that_were_seen() -> None:
    """A percentile is a value of the list; of an empty one it is no number."""
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 3.0
    assert percentile([3.0, 1.0], 0.99) == 3.0
    assert percentile([], 0.5) != percentile([], 0.5)
