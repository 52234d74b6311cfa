"""The application in this process, for administration without a running server."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from socket import socket as Socket  # noqa: N812  # a class, in lower case for history's sake
from typing import Any

import uvicorn

from freehold.app import open_app
from freehold.config import Settings
from freehold.log_lines import configure_logging


class _PrivateServer(uvicorn.Server):
    """A server that leaves signals to the command that runs it, and tells when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[Socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve_here(home: Path, settings: Settings) -> AsyncIterator[tuple[Path, str]]:
    """Open a home without engines and serve its API on a private socket.

    Yields:
        The socket and the administrator's key.

    Raises:
        HomeError: another process serves from this home, or it cannot be used.
    """
    configure_logging("error")
    # Looking at a new home does not furnish it: the starter set is laid when the home is first served.
    server = settings.server.model_copy(update={"starter": False})
    async with open_app(home, settings.model_copy(update={"server": server}), engines=False) as app:
        with tempfile.TemporaryDirectory(prefix="freehold-") as folder:  # mode 0700
            socket = Path(folder) / "api.sock"
            async with _serving(app.asgi, socket):
                yield socket, app.admin_key


@asynccontextmanager
async def _serving(asgi: Any, socket: Path) -> AsyncIterator[None]:
    """Serve an application while the block runs."""
    server = _PrivateServer(
        uvicorn.Config(
            asgi, uds=str(socket), log_level="critical", log_config=None, access_log=False, lifespan="off", ws="none"
        )
    )
    task = asyncio.create_task(server.serve())
    try:
        await server.accepting.wait()
        yield
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
