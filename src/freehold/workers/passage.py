"""The passage: requests that a worker does not serve itself go to the core over a Unix socket, and answers come back.

Bodies are passed on piece by piece, both ways. Who called, from where and under which scheme stands in one header
beside a secret that only the core and its workers know; a caller's own header of that name is dropped, and a request
without the secret is refused, so nobody else can say who called.
"""

import asyncio
import hmac
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from freehold.api.edge import dialect_of
from freehold.api.sse import send_error
from freehold.errors import Unavailable

log = structlog.get_logger(__name__)

CORE_SOCKET: Final = "core.sock"
"""The name of the socket in the folder of sockets."""
CALLER: Final = b"x-freehold-caller"
"""The header that says who called."""
_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
)
"""Headers that are those of one connection."""
_DEFAULTS: Final = frozenset({"Accept", "Accept-Encoding", "User-Agent", "Content-Type"})
"""What the client would add by itself."""
_MOST_LINE_BYTES: Final = 256 * 1024


class Passage:
    """A worker's way to the core. Made within the running loop.

    Args:
        socket: where the core listens.
        secret: which the core and its workers share.
    """

    def __init__(self, socket: Path, secret: str) -> None:
        self._secret = secret
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_DEFAULTS,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0),
            max_line_size=_MOST_LINE_BYTES,
            max_field_size=_MOST_LINE_BYTES,
        )
        self._running: set[asyncio.Task[Any]] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """How many requests are on their way."""
        return len(self._running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        task = asyncio.current_task()
        assert task is not None, "a request runs in a task"
        self._running.add(task)
        self._empty.clear()
        try:
            await self._pass(scope, receive, send)
        finally:
            self._running.discard(task)
            if not self._running:
                self._empty.set()

    async def idle(self) -> None:
        """Wait until nothing is on its way."""
        await self._empty.wait()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive)
        exchange = asyncio.create_task(self._exchange(scope, body, send))
        body.on_gone(exchange.cancel)
        if not _has_body(scope["headers"]):
            body.watch()
        try:
            await exchange
        except asyncio.CancelledError:
            if not body.left:
                exchange.cancel()
                raise
        finally:
            body.close()

    async def _exchange(self, scope: Scope, body: "_Body", send: Send) -> None:
        """Ask the core, and pass its answer on."""
        started = False
        try:
            async with self._session.request(
                scope["method"],
                URL(f"http://core{_target(scope)}", encoded=True),
                headers=[*_forwarded(scope["headers"]), (CALLER.decode(), self._caller(scope))],
                data=body.pieces() if _has_body(scope["headers"]) else None,
                allow_redirects=False,
            ) as response:
                raw = [(name.lower(), value) for name, value in response.raw_headers if name.lower() not in _HOP]
                await send({"type": "http.response.start", "status": response.status, "headers": raw})
                started = True
                async for piece in response.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, OSError) as exc:
            if body.left:
                return
            log.warning("passage_broken", path=scope["path"], error=type(exc).__name__, started=started)
            if started:
                raise  # so the caller's connection is cut, as the core's was
            error = Unavailable("The server is not available at the moment; please try again.", retry_after_s=1.0)
            await send_error(send, error, dialect_of(scope), {"x-request-id": f"req_{secrets.token_hex(16)}"})

    def _caller(self, scope: Scope) -> str:
        client = scope.get("client")
        told = {"client": client and list(client), "scheme": scope.get("scheme", "http")}
        return f"{self._secret} {orjson.dumps(told).decode()}"


class _Body:
    """A request's body on its way and, once it is whole, an eye on whether the caller is still there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None
        self._gone: Callable[[], object] = lambda: None
        self.left = False
        """Whether the caller has gone."""

    def on_gone(self, listener: Callable[[], object]) -> None:
        """Have something done when the caller goes."""
        self._gone = listener

    def watch(self) -> None:
        """Keep an eye on the caller, since no more of the body is to come."""
        self._watching = asyncio.create_task(self._watch())

    def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The body, piece by piece; at first an empty one, with which the client sends the head at once."""
        yield b""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._leave()
                return
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]
        self.watch()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self.left = True
        self._gone()


def _target(scope: Scope) -> str:
    """Path and query as they came."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """What of a caller's headers is passed on."""
    headers = list(headers)
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name not in _HOP and name not in named and name != CALLER
    ]


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0") for name, value in headers
    )


class PassageDoor:
    """The core's end of the passage: lets in what workers pass on, as if it had come from their callers.

    Args:
        app: what serves it.
        secret: which the core and its workers share.
    """

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._secret = secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = [value for name, value in scope["headers"] if name == CALLER]
        secret, _, told = (said[0] if len(said) == 1 else b"").partition(b" ")
        if not hmac.compare_digest(secret, self._secret):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        caller = orjson.loads(told)
        headers = [(name, value) for name, value in scope["headers"] if name != CALLER]
        client = caller["client"] and tuple(caller["client"])
        await self._app({**scope, "headers": headers, "client": client, "scheme": caller["scheme"]}, receive, send)
