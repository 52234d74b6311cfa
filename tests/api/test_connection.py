"""Callers who are answered before they have sent all: they read the whole answer, and cannot keep a server waiting."""

import asyncio
import socket
import ssl
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from freehold.api.body import read_limited
from freehold.api.connection import DEPARTURES, BoundedConnection
from freehold.api.edge import Edge
from freehold.api.transport import Patience
from freehold.cluster.authority import Authority, new_request
from freehold.listening import serving
from tests.api.raw_callers import MIB, PIECE, connect, head, pieces, read_all, write_then_read
from tests.service import PATIENCE_S

LIMIT = 100_000
BOTH_LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Coroutine[Any, Any, None]], None]


async def reads(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads a body of at most `LIMIT` bytes, and answers with its length; without a limit where the path says so."""
    size = len(await read_limited(scope, receive, LIMIT if scope["path"] == "/limited" else 1_000 * MIB))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(str(size)))]})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers 401 without having looked at the body."""
    assert (scope["type"], callable(receive)) == ("http", True)
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


class Impatient(BoundedConnection):
    """A connection that hears callers out for a moment only."""

    patience: ClassVar[Patience] = Patience(silence_s=0.2)


class Brief(BoundedConnection):
    """A connection that hears callers out for half a second in all."""

    patience: ClassVar[Patience] = Patience(time_s=0.5)


@asynccontextmanager
async def served(
    app: Any, http: type[BoundedConnection] = BoundedConnection, tls: tuple[Path, Path] | None = None
) -> AsyncIterator[tuple[int, uvicorn.Server]]:
    """An application on a port of the loopback address, as `freehold serve` serves it, or over TLS."""
    listener = socket.create_server(("127.0.0.1", 0))
    certificate, key = tls or (None, None)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=http,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            ws="none",
            timeout_keep_alive=1,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )
    task = asyncio.create_task(server._serve([listener]))  # `serve` would take this process's signals
    try:
        while not server.started:  # noqa: ASYNC110  # uvicorn offers no event for it
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1], server
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, PATIENCE_S)


@pytest.fixture
def certified(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A server's certificate, its key, and the certificate of who has signed it."""
    authority = Authority.new()
    key, request = new_request("server.test")
    files = tuple(tmp_path / name for name in ("server.pem", "server.key", "authority.pem"))
    contents = (authority.sign(request, name="server.test"), key, authority.certificate_pem)
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files[0], files[1], files[2]


async def until_closed(server: uvicorn.Server) -> None:
    """Wait until the server has no connections."""
    async with asyncio.timeout(PATIENCE_S):
        while server.server_state.connections:  # noqa: ASYNC110  # uvicorn offers no event for it
            await asyncio.sleep(0.01)


def check_too_large(answer: bytes) -> None:
    """Hold that an answer is a whole 413 that ends its connection."""
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.lower().count(b"connection: close") == 1
    assert b"content-length: %d" % len(body) in top.lower()
    assert b"request_too_large" in body


@BOTH_LOOPS
@pytest.mark.parametrize("pause_s", [0.0, 0.005], ids=["fast", "slow"])
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize("closing", [False, True], ids=["kept", "closing"])
def test_a_caller_who_writes_all_first_reads_the_refusal(
    run: Run, pause_s: float, chunked: bool, closing: bool
) -> None:
    """Who sends 64 MiB before looking at the answer gets the whole 413, and neither a broken pipe nor a reset."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {64 * MIB}"
    first = head(framing, *(["Connection: close"] if closing else []))

    async def scenario() -> None:
        async with served(Edge(reads)) as (port, _):
            body = pieces(64 * MIB, chunked=chunked)
            check_too_large(await asyncio.to_thread(write_then_read, connect(port), first, body, pause_s))

    run(scenario())


@BOTH_LOOPS
def test_an_answer_over_tls_is_read_as_well(run: Run, certified: tuple[Path, Path, Path]) -> None:
    """Over TLS, where a side cannot be ended alone, who sends all first gets the whole answer, too."""
    certificate, key, authority = certified
    context = ssl.create_default_context(cafile=authority)

    def ask(port: int) -> bytes:
        with context.wrap_socket(connect(port), server_hostname="server.test") as caller:
            caller.sendall(head(f"Content-Length: {64 * MIB}", "Connection: close"))
            for piece in pieces(64 * MIB, chunked=False):
                caller.sendall(piece)
            answer = b""
            while b"}}" not in answer:
                answer += caller.recv(65536)
            return answer

    async def scenario() -> None:
        async with served(Edge(reads), tls=(certificate, key)) as (port, server):
            check_too_large(await asyncio.to_thread(ask, port))
            await until_closed(server)

    run(scenario())


def test_a_body_that_is_thrown_away_costs_no_memory() -> None:
    """While 64 MiB come behind an answer, not even four of them are ever held."""

    async def scenario() -> None:
        async with served(Edge(reads)) as (port, _):
            body = pieces(64 * MIB, chunked=False)
            first = head(f"Content-Length: {64 * MIB}", "Connection: close")
            tracemalloc.start()
            try:
                check_too_large(await asyncio.to_thread(write_then_read, connect(port), first, body))
                assert tracemalloc.get_traced_memory()[1] < 4 * MIB
            finally:
                tracemalloc.stop()

    uvloop.run(scenario())


@BOTH_LOOPS
def test_a_caller_who_never_stops_is_cut_off(run: Run) -> None:
    """Behind its answer a caller may send so many bytes, and what the systems between hold, and no more."""

    def flood(port: int) -> int:
        sent = 0
        with connect(port) as caller, suppress(ConnectionError):
            caller.sendall(head(f"Content-Length: {10_000 * MIB}"))
            while sent < 10_000 * MIB:
                sent += caller.send(PIECE)
        return sent

    async def scenario() -> None:
        async with served(Edge(reads)) as (port, server):
            sent = await asyncio.to_thread(flood, port)
            assert Patience().size < sent < Patience().size + 64 * MIB
            await until_closed(server)

    run(scenario())


@BOTH_LOOPS
def test_a_caller_who_falls_silent_is_left(run: Run) -> None:
    """Who sends nothing more and does not close is not waited for."""

    async def scenario() -> None:
        async with served(Edge(reads), Impatient) as (port, server):
            with connect(port) as caller:
                caller.sendall(head(f"Content-Length: {MIB}") + PIECE)
                check_too_large(await asyncio.to_thread(read_all, caller))
                await until_closed(server)
                assert not server.server_state.tasks, "nor did a request run meanwhile"

    run(scenario())


@BOTH_LOOPS
@pytest.mark.parametrize("size", [MIB, 1_000], ids=["much", "little"])
def test_a_caller_who_dribbles_is_left(run: Run, size: int) -> None:
    """Who sends byte by byte is heard out for so long in all, whether or not its connection was to be kept."""

    def dribble(port: int) -> bool:
        waiting = threading.Event()
        with connect(port) as caller, suppress(ConnectionError):
            caller.sendall(head(f"Content-Length: {size}"))
            for _ in range(size - 1):
                caller.sendall(b"x")
                waiting.wait(0.1)
            return False
        return True

    async def scenario() -> None:
        async with served(refuses, Brief) as (port, server):
            assert await asyncio.to_thread(dribble, port)
            await until_closed(server)

    run(scenario())


@BOTH_LOOPS
def test_a_server_that_ends_waits_a_moment_only(run: Run) -> None:
    """A server that stops lets a caller who still sends read its answer, and is not held up by one who never ends."""

    async def scenario() -> None:
        async with served(Edge(reads)) as (port, server):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(f"Content-Length: {1_000 * MIB}") + PIECE)
            answer = await reader.read()
            check_too_large(answer)
            assert server.server_state.connections, "it lingers"
            server.should_exit = True
            with suppress(ConnectionError):
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.05)
            writer.close()
        assert not server.server_state.connections

    run(scenario())


@BOTH_LOOPS
def test_a_caller_who_waits_for_a_hundred_is_told_that_the_connection_ends(run: Run) -> None:
    """Answered instead of asked to continue, it need not send the body; what it sends behind is no request."""

    async def scenario() -> None:
        async with served(refuses) as (port, _):
            with connect(port) as caller:
                caller.sendall(head("Expect: 100-continue", "Content-Length: 100"))
                answer = await asyncio.to_thread(read_all, caller)
                assert answer.startswith(b"HTTP/1.1 401 ")
                assert b"connection: close" in answer.lower()
                caller.sendall(head("Content-Length: 0"))
                assert await asyncio.to_thread(caller.recv, 100) == b""

    run(scenario())


@BOTH_LOOPS
def test_a_caller_who_waits_for_a_hundred_gets_it(run: Run) -> None:
    """A body that is wanted is asked for, and its connection stays."""

    async def scenario() -> None:
        async with served(reads) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for size in (100, LIMIT):
                writer.write(head("Expect: 100-continue", f"Content-Length: {size}"))
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                writer.write(b"x" * size)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert b"connection: close" not in answer.lower()
                assert await reader.readexactly(len(str(size))) == str(size).encode()
            writer.close()

    run(scenario())


@BOTH_LOOPS
def test_a_connection_with_little_left_of_a_body_is_kept(run: Run) -> None:
    """A small body that comes behind its answer costs nobody the connection, which is closed when it is idle."""

    async def scenario() -> None:
        async with served(refuses) as (port, server):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(3):
                writer.write(head("Content-Length: 10"))
                answer = await reader.readuntil(b"\r\n\r\nno")
                assert answer.startswith(b"HTTP/1.1 401 ")
                assert b"connection: close" not in answer.lower()
                writer.write(b"0123456789")
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
            await until_closed(server)
            writer.close()

    run(scenario())


@BOTH_LOOPS
def test_an_endless_head_is_told_so(run: Run) -> None:
    """Who sends ten mebibytes of a head, and then looks, reads the 431."""

    async def scenario() -> None:
        async with served(reads) as (port, _):
            body = iter([b"X: " + PIECE + b"\r\n"] * 40)
            first = b"POST / HTTP/1.1\r\nHost: x\r\n"
            answer = await asyncio.to_thread(write_then_read, connect(port), first, body)
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert b"x-request-id: req_" in answer

    run(scenario())


@BOTH_LOOPS
def test_a_request_ends_at_once_when_its_caller_turns_to_garbage(run: Run) -> None:
    """A request whose caller sends what is no HTTP behind it is told that the caller is gone, without lingering."""
    running, gone = asyncio.Event(), asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        assert callable(receive)
        scope["state"][DEPARTURES].add(gone.set)
        running.set()
        await gone.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def scenario() -> None:
        async with served(waits) as (port, server):
            with connect(port) as caller:
                caller.sendall(head("Content-Length: 0"))
                await asyncio.wait_for(running.wait(), PATIENCE_S)
                caller.sendall(b"\x16\x03\x01\r\n\r\n")
                await asyncio.wait_for(gone.wait(), PATIENCE_S)
                await until_closed(server)

    run(scenario())


@BOTH_LOOPS
def test_a_body_that_is_read_to_its_end_ends_nothing(run: Run) -> None:
    """However large a body is, once it was read its connection goes on, or is closed at once if the caller said so."""

    async def scenario() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        async with serving(reads, listener) as server:
            port, size = listener.getsockname()[1], 4 * MIB
            ask = partial(head, f"Content-Length: {size}", path="/large")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(ask() + b"x" * size)
                assert b"connection: close" not in (await reader.readuntil(b"\r\n\r\n")).lower()
                assert await reader.readexactly(len(str(size))) == str(size).encode()
            writer.close()
            last = head(f"Content-Length: {size}", "Connection: close", path="/large")
            answer = await asyncio.to_thread(write_then_read, connect(port), last, pieces(size, chunked=False))
            assert answer.endswith(str(size).encode())
            await until_closed(server.server)

    run(scenario())
