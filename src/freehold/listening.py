"""What every process that takes requests does: its sockets, its signals and its HTTP server."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from freehold.api.connection import BoundedConnection
from freehold.c_memory import give_back
from freehold.errors import HomeError

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

_FORWARDED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})


class _Server(uvicorn.Server):
    """Uvicorn without its own idea of signals: it would close the socket before the drain."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class BehindProxies:
    """Takes the word of trusted proxies for who calls; a request of which none says anything goes on as it is.

    Args:
        app: what is served.
        trusted: the addresses of those proxies.
    """

    def __init__(self, app: ASGIApp, trusted: list[str] | str) -> None:
        self._app = app
        self._told = cast("ASGIApp", ProxyHeadersMiddleware(cast("ASGI3Application", app), trusted))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on."""
        for name, _ in scope["headers"]:
            if name in _FORWARDED:
                return self._told(scope, receive, send)
        return self._app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that serves.

    Args:
        ended: done when it serves no more.
        server: which.
    """

    ended: "asyncio.Task[None]"
    server: uvicorn.Server

    def accept_no_more(self) -> None:
        """Leave new connections to others that listen there; those that there are go on."""
        for each in self.server.servers:
            each.close()


@asynccontextmanager
async def serving(
    app: ASGIApp, listener: socket.socket, *, own: bool = True, patience_s: int | None = 2
) -> AsyncIterator[Serving]:
    """Serve an application on a socket while the block runs.

    Args:
        app: what is served.
        listener: where. It is closed at the end.
        own: whether callers come themselves, and not through a worker, which has spoken with them.
        patience_s: how long what is being answered at the end may go on; None sets no limit.
    """
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        date_header=own,
        proxy_headers=False,
        timeout_graceful_shutdown=patience_s,
    )
    if own:
        config.app = BehindProxies(app, config.forwarded_allow_ips)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _started(server, task)
        yield Serving(task, server)
    finally:
        server.should_exit = True
        await task


async def _started(server: uvicorn.Server, serving: "asyncio.Task[None]") -> None:
    """Wait until the server accepts connections."""
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn offers no event for it
        await asyncio.sleep(0.01)


@contextmanager
def held_collector() -> Iterator[None]:
    """Have Python search for no dead cycles while the program starts: what is made then stays.

    The searches of a start took a sixth of its time. `spare_collector` ends this as well.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def spare_collector() -> None:
    """Have Python search for dead cycles less often, and never among what the start has made, which stays.

    With Python's own thresholds the search takes a tenth of the time of a loaded server. What the start has used and
    does not need any more goes back to the system.
    """
    gc.collect()
    give_back()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


def untracked_generators() -> None:
    """Have the running loop keep no list of asynchronous generators; to be called in it.

    It would close those that are left at its end, where none is: requests are drained before. To keep the list took a
    fiftieth of a request's time. A generator that is forgotten half way is still closed by the loop.
    """
    sys.set_asyncgen_hooks(firstiter=None, finalizer=sys.get_asyncgen_hooks().finalizer)


async def first(*futures: "asyncio.Future[Any]") -> None:
    """Wait until one of them is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def on_signals(*numbers: signal.Signals) -> "asyncio.Future[None]":
    """A future that the next of these signals completes."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()

    def arrive() -> None:
        if not arrived.done():
            arrived.set_result(None)

    for number in numbers:
        loop.add_signal_handler(number, arrive)
    return arrived


def listen(host: str, port: int, count: int = 1) -> list[socket.socket]:
    """Listening sockets on one address: as many as processes take requests.

    Where the system shares connections out among several sockets (Linux), each process gets one of its own, and those
    that a process did not take yet are not lost with it. Elsewhere they all share one.

    Raises:
        HomeError: the address is in use or is not this machine's.
    """
    first = _bound(host, port, shared=False)
    if count == 1 or sys.platform != "linux":
        return [first] * count
    # Nobody else listens there: another one would have been in the way of a socket that shares with none.
    address = first.getsockname()
    first.close()
    return [_bound(host, address[1], shared=True) for _ in range(count)]


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as exc:
        listener.close()
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise HomeError(
            f"cannot listen on {host}:{port}: {reason}; choose another with --port", code="cannot_listen"
        ) from exc
    listener.setblocking(False)
    return listener


def listen_for_workers(path: Path) -> socket.socket:
    """A listening Unix socket that only this user can connect to.

    Raises:
        HomeError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as exc:
        listener.close()
        raise HomeError(f"the socket {path} cannot be made: {exc.strerror}") from exc
    finally:
        os.umask(before)
    listener.listen(2048)
    listener.setblocking(False)
    return listener
