"""What goes over a caller's connection, byte by byte, of an application that is a few lines long."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from freehold.api.connection import Gathering
from freehold.listening import listen, serving

GET = b"GET /a%20b?c=d HTTP/1.1\r\nHost: h\r\n\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def over_the_wire(app: ASGIApp, talk: Talk, *, keep_alive_s: int = 5) -> bytes:
    """What a conversation with a server of this application comes to."""

    async def main() -> bytes:
        (listener,) = listen("127.0.0.1", 0)
        async with serving(app, listener, own=False) as here:
            here.server.config.timeout_keep_alive = keep_alive_s
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
            try:
                return await talk(reader, writer)
            finally:
                writer.close()

    return asyncio.run(main())


def sending(*requests: bytes) -> Talk:
    """Send these in turn, and read until the server closes the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.writelines(requests)
        return await reader.read()

    return talk


def answering(*messages: dict[str, Any], then: BaseException | None = None) -> ASGIApp:
    """An application that sends these messages to everybody."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        for message in messages:
            await send(message)
        if then is not None:
            raise then

    return app


def head(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    """The message that an answer begins with."""
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    """A message with a piece of its body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


CLOSING = (b"connection", b"close")


@pytest.mark.parametrize(
    ("messages", "wanted"),
    [
        (
            [head((b"Content-Length", b"5"), CLOSING), body(b"he", more=True), body(b"llo")],
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        ),
        (
            [head(CLOSING, (b"x-a", b"\tb c\xe9")), body(b"he", more=True), body(b"", more=True), body(b"llo")],
            (
                b"HTTP/1.1 200 OK\r\nconnection: close\r\nx-a: \tb c\xe9\r\ntransfer-encoding: chunked\r\n\r\n"
                b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            ),
        ),
        ([head(CLOSING, status=204), body(b"")], b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"),
        (
            [head((b"content-length", b"0"), CLOSING, status=404), body(b"")],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ),
        ([head((b"transfer-encoding", b"chunked"), CLOSING), body(b"x")],
         b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ],
)  # fmt: skip
def test_an_answer_is_written_as_it_is_sent(messages: list[dict[str, Any]], wanted: bytes) -> None:
    """Head, length or chunks, and the end of the connection are those that the application asks for."""
    assert over_the_wire(answering(*messages), sending(GET)) == wanted


def test_a_head_asked_for_alone_has_no_body() -> None:
    """HEAD is answered by the head, its length included, and nothing else."""
    answer = over_the_wire(
        answering(head((b"content-length", b"5"), CLOSING), body(b"hello")), sending(GET.replace(b"GET", b"HEAD"))
    )
    assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "header",
    [(b"x-a", b"b\r\nset-cookie: c"), (b"x-a", b"b\nc"), (b"x-a", b"b\0"), (b"x a", b"b"), (b"x\r\nx", b"b")],
)
def test_no_header_breaks_out_of_its_line(header: tuple[bytes, bytes]) -> None:
    """A name or a value with a control character is not sent; the connection ends."""
    assert over_the_wire(answering(head(header), body(b"x")), sending(GET)) == b""


@pytest.mark.parametrize(
    ("messages", "wanted"),
    [
        ([head((b"content-length", b"9")), body(b"hello")], b"content-length: 9\r\n\r\nhello"),
        ([head((b"content-length", b"9")), body(b"hel", more=True)], b"content-length: 9\r\n\r\nhel"),
        ([head((b"content-length", b"3")), body(b"hello")], b"content-length: 3\r\n\r\n"),
        ([head(), body(b"x", more=True)], b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n"),
    ],
)
def test_an_answer_that_is_not_whole_ends_the_connection(messages: list[dict[str, Any]], wanted: bytes) -> None:
    """Whatever was sent goes out, and the caller sees by the connection's end that it is not all."""
    for then in (None, ValueError("a defect")):
        assert over_the_wire(answering(*messages, then=then), sending(GET)) == b"HTTP/1.1 200 OK\r\n" + wanted


def test_a_defect_before_the_answer_is_told() -> None:
    """An application that raises, or says nothing, is answered for by a 500."""
    for then in (None, ValueError("a defect")):
        answer = over_the_wire(answering(then=then), sending(GET))
        assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert answer.endswith(b"\r\n\r\nInternal Server Error")


async def _told(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell of the request what there is to tell."""
    message, text = await receive(), b""
    while message["more_body"]:
        text += message["body"]
        message = await receive()
    told = f"{scope['method']} {scope['path']} {scope['raw_path'].decode()} {scope['query_string'].decode()} "
    text = told.encode() + text + message["body"]
    await send(head((b"content-length", b"%d" % len(text))))
    await send(body(text))
    assert (await receive())["type"] == "http.disconnect"


def test_a_request_reaches_the_application_as_it_was_sent() -> None:
    """Method, path and query are told, and a body in chunks is put together; a second request is served after it."""
    chunked = (
        b"POST /v1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert over_the_wire(_told, sending(GET, chunked)) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nGET /a b /a%20b c=d "
        b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\nconnection: close\r\n\r\nPOST /v1 /v1  abcde"
    )


def test_a_large_body_comes_in_pieces_that_are_not_all_held() -> None:
    """A body that is not read is not taken from the network without end; read, it is whole."""
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await asyncio.sleep(0.2)
        more = True
        while more:
            message = await receive()
            seen.append(len(message["body"]))
            more = message["more_body"]
        await send(head((b"content-length", b"2"), CLOSING))
        await send(body(b"ok"))

    size = 8_000_000
    request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    assert over_the_wire(app, sending(request)).endswith(b"ok")
    assert sum(seen) == size
    assert max(seen) < 1_000_000


def test_head_and_body_are_one_packet() -> None:
    """A whole answer is given to the network at once, and what was held before the connection closes goes out."""
    written: list[bytes] = []

    class Recorder(asyncio.Transport):
        """A transport that keeps what is written to it."""

        def write(self, data: bytes | bytearray | memoryview) -> None:
            written.append(bytes(data))

        def is_closing(self) -> bool:
            return False

        def close(self) -> None:
            written.append(b"closed")

        def get_write_buffer_size(self) -> int:
            return 0

    async def main() -> None:
        way = Gathering(Recorder(), asyncio.get_running_loop())
        way.hold(b"head ")
        way.finish(b"body")
        way.write(b"a")
        way.write(b"b")
        await asyncio.sleep(0)
        way.hold(b"c")
        way.close()

    asyncio.run(main())
    assert written == [b"head body", b"ab", b"c", b"closed"]


def test_a_connection_that_nobody_uses_is_closed() -> None:
    """It is kept for as long as the server says after its last answer, and while something is answered for longer."""
    waits: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        await asyncio.sleep(1.5 if scope["path"] == "/slow" else 0)
        await send(head((b"content-length", b"2")))
        await send(body(b"ok"))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for path in (b"/slow", b"/", b"/"):
            writer.write(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
            await reader.readuntil(b"\r\n\r\nok")
        started = asyncio.get_running_loop().time()
        rest = await reader.read()
        waits.append(asyncio.get_running_loop().time() - started)
        return rest

    assert over_the_wire(app, talk, keep_alive_s=1) == b""
    assert waits[0] > 0.9


def test_a_request_runs_until_it_was_served() -> None:
    """The server counts a request among those that run until it was served, and no longer."""
    running: list[int] = []

    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            del scope, receive
            running.append(len(here.server.server_state.tasks))
            await send(head((b"content-length", b"2")))
            await send(body(b"ok"))

        (listener,) = listen("127.0.0.1", 0)
        async with serving(app, listener, own=False) as here:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
            for _ in range(2):
                writer.write(GET)
                await reader.readuntil(b"\r\n\r\nok")
            writer.close()

    asyncio.run(main())
    assert running == [1, 1]
