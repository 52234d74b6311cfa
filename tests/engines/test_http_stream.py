"""The client of engines' streams, against servers that send exactly what a test says, byte by byte."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from freehold.engines.http_stream import HIGH_WATER, MAX_HEAD_BYTES, Place, Wire, Wires, request_head
from freehold.errors import EngineFailed, EngineTimeout, EngineUnavailable

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class Server:
    """A server on a Unix socket that answers each connection with one coroutine, and counts connections."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        self.socket = folder / "s"
        self.connections = 0
        self.gone = asyncio.Event()
        self._answer = answer
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._begin, str(self.socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*self._tasks)
        await asyncio.sleep(0.01)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        self.gone.set()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def asked(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.rpartition(b"content-length: ")[2]))


def answering(*answers: bytes) -> Answer:
    """Sends these one after the other, each for a request, and keeps the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for each in answers:
            await asked(reader)
            writer.write(each)
            await writer.drain()
        await reader.read()

    return answer


def wires_to(server: Server, *, read_s: float = 5.0, keepalive_s: float = 5.0) -> Wires:
    """Connections to a server."""
    place = Place.of("http://localhost/v1", server.socket)
    return Wires(place, connect_s=5.0, read_s=read_s, keepalive_s=keepalive_s)


HEAD = request_head("http://localhost/v1/x", {"a": "b"})


async def body_of(wires: Wires, data: bytes = b"{}") -> bytes:
    """The whole answer to a request."""
    wire = await wires.post(HEAD, data)
    try:
        pieces = []
        while piece := await wire.read():
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        wires.end(wire)


def test_a_connection_serves_many_requests(tmp_path: Path) -> None:
    """Answers that came whole leave the connection to the next request."""

    async def main() -> None:
        async with Server(tmp_path, answering(WHOLE, WHOLE, WHOLE)) as server:
            wires = wires_to(server)
            assert [await body_of(wires) for _ in range(3)] == [b"hello"] * 3
            assert server.connections == 1
            wires.close()

    asyncio.run(main())


def test_an_answer_given_up_ends_its_connection(tmp_path: Path) -> None:
    """Whoever stops reading breaks the answer off, and the server notices."""
    begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"

    async def main() -> None:
        async with Server(tmp_path, answering(begun)) as server:
            wires = wires_to(server)
            wire = await wires.post(HEAD, b"{}")
            assert await wire.read() == b"hello"
            wires.end(wire)
            await asyncio.wait_for(server.gone.wait(), 5)
            wires.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it", b"all of it", id="ends with connection"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE, b"hello", id="an informational answer before it"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", id="nothing"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx-trailer: 1\r\n\r\n",
            b"abc",
            id="chunks and a trailer",
        ),
    ],
)
def test_answers_are_read_in_every_form(tmp_path: Path, sent: bytes, body: bytes) -> None:
    """However HTTP delimits a body, and however the bytes are cut, it is read whole."""

    async def bytewise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        for place in range(len(sent)):
            writer.write(sent[place : place + 1])
            await asyncio.sleep(0)

    async def main() -> None:
        async with Server(tmp_path, bytewise) as server:
            wires = wires_to(server)
            assert await body_of(wires) == body
            wires.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        pytest.param(b"", EngineUnavailable, id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncont", EngineUnavailable, id="half a head"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", EngineFailed, id="half a body"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", EngineFailed, id="no chunk"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", EngineFailed, id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * (MAX_HEAD_BYTES + 1), EngineFailed, id="an endless head"),
    ],
)
def test_what_breaks_off_is_told(tmp_path: Path, sent: bytes, error: type[Exception]) -> None:
    """Before an answer the engine was not reached; within one it failed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        writer.write(sent)

    async def main() -> None:
        async with Server(tmp_path, answer) as server:
            wires = wires_to(server)
            with pytest.raises(error):
                await body_of(wires)
            wires.close()

    asyncio.run(main())


def test_who_says_nothing_is_given_up(tmp_path: Path) -> None:
    """A server that goes silent in the middle is a timeout, and its connection is closed."""

    async def main() -> None:
        begun = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"
        async with Server(tmp_path, answering(begun)) as server:
            wires = wires_to(server, read_s=0.1)
            with pytest.raises(EngineTimeout):
                await body_of(wires)
            await asyncio.wait_for(server.gone.wait(), 5)
            wires.close()

    asyncio.run(main())


def test_a_slow_reader_is_no_timeout_and_fills_no_memory(tmp_path: Path) -> None:
    """While nobody reads, the server is made to wait; what it sent afterwards arrives in full."""
    size = 20 * HIGH_WATER

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(20):
            writer.write(b"x" * HIGH_WATER)
            await writer.drain()

    async def main() -> None:
        async with Server(tmp_path, answer) as server:
            wires = wires_to(server, read_s=0.1)
            wire = await wires.post(HEAD, b"{}")
            await asyncio.sleep(0.3)
            first = await wire.read()
            assert len(first) < 4 * HIGH_WATER
            rest = 0
            while piece := await wire.read():
                rest += len(piece)
            assert len(first) + rest == size
            wires.end(wire)
            wires.close()

    asyncio.run(main())


def test_a_connection_that_ended_meanwhile_is_not_used(tmp_path: Path) -> None:
    """A server may close a kept connection at any time; the next request takes another."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        writer.write(WHOLE)

    async def main() -> None:
        async with Server(tmp_path, once) as server:
            wires = wires_to(server)
            assert await body_of(wires) == b"hello"
            await server.gone.wait()
            await asyncio.sleep(0.05)
            assert await body_of(wires) == b"hello"
            assert server.connections == 2
            wires.close()

    asyncio.run(main())


def test_an_unused_connection_is_closed_in_time(tmp_path: Path) -> None:
    """Nothing is kept longer than was said."""

    async def main() -> None:
        async with Server(tmp_path, answering(WHOLE, WHOLE)) as server:
            wires = wires_to(server, keepalive_s=0.05)
            assert await body_of(wires) == b"hello"
            await asyncio.wait_for(server.gone.wait(), 5)
            wires.close()

    asyncio.run(main())


def test_closing_ends_what_runs(tmp_path: Path) -> None:
    """Calls in flight are told that the connection is closed, and later ones too."""

    async def main() -> None:
        begun = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"
        async with Server(tmp_path, answering(begun)) as server:
            wires = wires_to(server)
            reading = asyncio.create_task(body_of(wires))
            await asyncio.sleep(0.05)
            wires.close()
            with pytest.raises(EngineUnavailable):
                await reading
            with pytest.raises(EngineUnavailable):
                await body_of(wires)

    asyncio.run(main())


def test_a_second_answer_in_the_same_packet_is_no_part_of_the_first(tmp_path: Path) -> None:
    """What comes behind the end of an answer is not read as its body, and the connection is not used again."""

    async def run() -> tuple[list[bytes], int]:
        async with Server(tmp_path, answering(WHOLE + WHOLE, WHOLE)) as server:
            wires = wires_to(server)
            read = [await body_of(wires) for _ in range(2)]
            wires.close()
            return read, server.connections

    assert asyncio.run(run()) == ([b"hello", b"hello"], 2)


def test_what_nobody_asked_for_ends_the_connection(tmp_path: Path) -> None:
    """Bytes behind an answer are never taken for the next one's."""

    async def main() -> None:
        async with Server(tmp_path, answering(WHOLE + WHOLE, WHOLE)) as server:
            wires = wires_to(server)
            assert await body_of(wires) == b"hello"
            assert await body_of(wires) == b"hello"
            assert server.connections == 2
            wires.close()

    asyncio.run(main())


def test_a_header_cannot_break_out() -> None:
    """The end of a line in a header's value is refused before anything is sent."""
    with pytest.raises(ValueError, match="end of a line"):
        request_head("http://localhost/", {"authorization": "Bearer a\r\nx: y"})
    head = request_head("https://example.org:8443/v1/chat?api-version=1", {"api-key": "k"})
    assert head.startswith(b"POST /v1/chat?api-version=1 HTTP/1.1\r\nhost: example.org:8443\r\napi-key: k\r\n")
    assert Place.of("https://example.org:8443/v1", None) == Place("example.org", 8443, tls=True)


def test_a_connection_that_ends_before_it_is_asked_is_no_defect() -> None:
    """A server that goes away between taking a connection and the request is one that could not be reached."""

    async def scenario() -> None:
        wire = Wire(5.0)
        wire.connection_lost(ConnectionResetError())
        with pytest.raises(EngineUnavailable):
            wire.ask(HEAD, b"{}")

    asyncio.run(scenario())
