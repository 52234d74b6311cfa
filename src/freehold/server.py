"""Serving: the socket, the signals and the orderly end.

On SIGTERM or SIGINT the server turns unready and refuses new requests at once, lets the running ones finish
until the deadline, ends the rest with an error, stops the engines and exits with 0. A second signal cuts the
waiting short.
"""

import asyncio
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvloop

from freehold.app import App, open_app
from freehold.config import Settings
from freehold.content_filter.registry import Parts
from freehold.gateway.tuning_python import Trainer
from freehold.journal.recorder import Recorder
from freehold.listening import (
    Serving,
    first,
    listen,
    listen_for_workers,
    on_signals,
    serving,
    spare_collector,
    untracked_generators,
)
from freehold.log_lines import configure_logging
from freehold.serving.sockets import SocketFolder
from freehold.workers.core_door import CoreDoor
from freehold.workers.order import Order
from freehold.workers.passage import CORE_SOCKET, PassageDoor
from freehold.workers.pool import Pool

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What to tell the person who started the server."""

    url: str
    api_base: str
    new_admin_key: str | None
    first_link: str | None
    """With which the first person makes an account; None once there is one."""
    deployments: tuple[str, ...]


def run(
    home: Path,
    settings: Settings,
    *,
    announce: Callable[[Announcement], None],
    recorder: Recorder | None = None,
    parts: Parts | None = None,
    trainer: Trainer | None = None,
) -> int:
    """Serve until a signal; the process's exit code.

    Args:
        home: the home folder.
        settings: the configuration.
        announce: called once, when requests are accepted.
        recorder: where requests are recorded instead of the journal; for measuring what the journal costs.
        parts: what content filters are made of instead of Freehold's own detectors.
        trainer: what fine-tunes instead of the program that the configuration names.

    Raises:
        HomeError, ConfigError: as `open_app`; HomeError also if the address cannot be listened on.
    """
    assert parts is None or settings.server.workers == 1, "parts that are made here are not there in workers"
    configure_logging(settings.server.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(home, settings, announce, recorder, parts, trainer))


async def _serve(
    home: Path,
    settings: Settings,
    announce: Callable[[Announcement], None],
    recorder: Recorder | None,
    parts: Parts | None,
    trainer: Trainer | None,
) -> int:
    stop = on_signals(signal.SIGTERM, signal.SIGINT)
    listeners = listen(settings.server.host, settings.server.port, settings.server.workers)
    try:
        async with open_app(home, settings, recorder=recorder, parts=parts, trainer=trainer) as app:
            url = _url(settings.server.host, listeners[0].getsockname()[1])
            app.home.record_server(url)
            try:
                async with _taking_requests(app, listeners) as front:
                    spare_collector()
                    untracked_generators()
                    log.info("serving", url=url, home=str(home), workers=settings.server.workers)
                    announce(_announcement(app, url))
                    await first(front.ended, stop, app.removed)
                    await _drain(app, front.pool, settings.server.drain_s)
            finally:
                app.home.forget_server()
    finally:
        for listener in listeners:
            listener.close()
    log.info("stopped")
    return 0


@dataclass(frozen=True, slots=True)
class _Front:
    """What takes the requests: this process, or a pool of workers."""

    ended: "asyncio.Task[None]"
    pool: Pool | None = None


@asynccontextmanager
async def _taking_requests(app: App, listeners: Sequence[socket.socket]) -> AsyncIterator[_Front]:
    """Take requests while the block runs: here where there is one socket, else by as many workers as there are."""
    if len(listeners) == 1:
        async with serving(app.asgi, listeners[0]) as here:
            yield _Front(here.ended)
        return
    sockets, secret = SocketFolder(app.home.run), secrets.token_hex(32)
    path = sockets.path / CORE_SOCKET
    orders = [
        Order(f"w{number}", app.home.root, app.settings, path, secret, 0, 0) for number in range(1, len(listeners) + 1)
    ]

    def stand_in(listener: socket.socket) -> AbstractAsyncContextManager[Serving]:
        return serving(door, listener, patience_s=None)

    pool = Pool(app.core, orders, listeners, app.settings.supervisor, stand_in)
    door = CoreDoor(app.asgi, pool)
    try:
        inside = PassageDoor(door, secret)
        async with serving(inside, listen_for_workers(path), own=False) as here, pool:
            yield _Front(here.ended, pool)
    finally:
        path.unlink(missing_ok=True)
        sockets.close()


async def _drain(app: App, pool: Pool | None, deadline_s: float) -> None:
    """Let running requests finish; a second signal ends the waiting."""
    log.info("draining", running=len(app.core.desk.running()), deadline_s=deadline_s)
    own = asyncio.create_task(app.flights.drain(deadline_s))
    theirs = asyncio.create_task(pool.drain(deadline_s)) if pool is not None else None
    draining: asyncio.Future[list[int]] = asyncio.gather(own, *([theirs] if theirs is not None else []))
    hurry = on_signals(signal.SIGTERM, signal.SIGINT)
    await first(draining, hurry)
    if not draining.done():
        app.flights.abort_all()
        if pool is not None:
            pool.abort()
    log.info("drained", cut_off=sum(await draining))


def _url(host: str, port: int) -> str:
    """How a person on this machine reaches the server."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def _announcement(app: App, url: str) -> Announcement:
    first = app.people.identity.accounts.first_link()
    return Announcement(
        url=url,
        api_base=f"{url}/v1",
        new_admin_key=app.admin_key if app.new_admin_key else None,
        first_link=f"{app.settings.server.public_url or url}/signin/link/{first}" if first is not None else None,
        deployments=tuple(view.deployment.name for view in app.control.all()),
    )
