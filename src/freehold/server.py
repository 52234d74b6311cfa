"""Serving: the socket, the signals and the orderly end.

On SIGTERM or SIGINT the server turns unready and refuses new requests at once, lets the running ones finish
until the deadline, ends the rest with an error, stops the engines and exits with 0. A second signal cuts the
waiting short.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop

from freehold.api.connection import BoundedConnection
from freehold.app import App, open_app
from freehold.config import Settings
from freehold.content_filter.registry import Parts
from freehold.errors import HomeError
from freehold.gateway.books import Recorder
from freehold.gateway.tuning_python import Trainer
from freehold.log_lines import configure_logging

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


class _Server(uvicorn.Server):
    """Uvicorn without its own idea of signals: it would close the socket before the drain."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
    stop = _on_signals()
    listener = _listen(settings.server.host, settings.server.port)
    try:
        async with open_app(home, settings, recorder=recorder, parts=parts, trainer=trainer) as app:
            url = _url(settings.server.host, listener.getsockname()[1])
            server = _Server(
                uvicorn.Config(
                    app.asgi,
                    http=BoundedConnection,
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    ws="none",
                    server_header=False,
                    timeout_graceful_shutdown=2,
                )
            )
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            app.home.record_server(url)
            try:
                await _started(server, serving)
                _spare_collector()
                log.info("serving", url=url, home=str(home))
                announce(_announcement(app, url))
                await _first(serving, stop)
                await _drain(app, settings.server.drain_s)
            finally:
                app.home.forget_server()
                server.should_exit = True
                await serving
    finally:
        listener.close()
    log.info("stopped")
    return 0


def _spare_collector() -> None:
    """Have Python search for dead cycles less often, and never among what the start has made, which stays.

    With Python's own thresholds the search takes a tenth of the time of a loaded server.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


async def _started(server: uvicorn.Server, serving: "asyncio.Task[None]") -> None:
    """Wait until the server accepts connections."""
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn offers no event for it
        await asyncio.sleep(0.01)


async def _drain(app: App, deadline_s: float) -> None:
    """Let running requests finish; a second signal ends the waiting."""
    log.info("draining", running=len(app.flights), deadline_s=deadline_s)
    draining = asyncio.create_task(app.flights.drain(deadline_s))
    hurry = _on_signals()
    await _first(draining, hurry)
    if not draining.done():
        app.flights.abort_all()
    log.info("drained", cut_off=await draining)


async def _first(*futures: "asyncio.Future[Any]") -> None:
    """Wait until one of them is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _on_signals() -> "asyncio.Future[None]":
    """A future that the next SIGTERM or SIGINT completes."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()

    def arrive() -> None:
        if not arrived.done():
            arrived.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, arrive)
    return arrived


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        HomeError: the address is in use or is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
