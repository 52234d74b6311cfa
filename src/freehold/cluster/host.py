"""What runs on a node: an actor that owns one engine process and relays to it, or one process of a job.

Nothing here knows of Ray, which makes actors of these classes (`freehold.cluster.ray_link`) and calls their methods,
one after another or at once. What happens is fetched by `news`, which waits until there is some. FreeholdError and
OSError are passed on to the caller.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import freehold
from freehold.cluster.authority import new_request
from freehold.cluster.member import Member, free_port
from freehold.cluster.node_files import Arrival, Listing, NodeFiles, with_paths
from freehold.cluster.process import EngineProcess
from freehold.cluster.relay import Relay
from freehold.config import home_from_environment
from freehold.errors import EngineFailed
from freehold.store.home import Home

PACKAGE: Final = Path(freehold.__file__).parent
_MOST_NEWS: Final = 1000
"""So many lines are kept for who fetches them late; of more, the oldest are lost."""


class News:
    """What has happened, for one who fetches it in order; each piece is a list that begins with its kind."""

    def __init__(self) -> None:
        self._pieces: list[list[Any]] = []
        self._more = asyncio.Event()

    def tell(self, *piece: Any) -> None:
        """Add a piece."""
        self._pieces.append(list(piece))
        if len(self._pieces) > _MOST_NEWS:
            del self._pieces[: len(self._pieces) - _MOST_NEWS]
        self._more.set()

    async def fetch(self) -> list[list[Any]]:
        """What has happened since the last time; waits until there is some."""
        await self._more.wait()
        self._more.clear()
        pieces, self._pieces = self._pieces, []
        return pieces


class EngineHost:
    """Owns one engine process."""

    def __init__(self) -> None:
        self._news = News()
        self._folder = Path(tempfile.mkdtemp(prefix="fh-"))
        self._files = NodeFiles(Home(home_from_environment()).models)
        self._socket = self._folder / "engine.sock"
        self._relay = Relay(self._socket)
        self._process: EngineProcess | None = None
        self._arrivals: dict[str, Arrival] = {}
        self._turns: dict[str, AbstractAsyncContextManager[None]] = {}
        self._key = b""

    async def about(self) -> dict[str, str]:
        """This node's version of Freehold."""
        return {"version": freehold.__version__, "python": sys.version.split()[0]}

    async def missing(self, digest: str) -> bool:
        """Whether a model is not here."""
        return not self._files.has(digest)

    async def begin(self, digest: str, files: Sequence[tuple[str, int]]) -> bool:
        """Take a model, once no other process of this node takes it; whether it is still missing then."""
        turn = self._files.turn(digest)
        await turn.__aenter__()
        if self._files.has(digest):
            await turn.__aexit__(None, None, None)
            return False
        self._turns[digest] = turn
        self._arrivals[digest] = self._files.begin(Listing(digest, tuple((name, size) for name, size in files)))
        return True

    async def take(self, digest: str, name: str, offset: int, piece: bytes) -> None:
        """Take a piece of a model's file."""
        await asyncio.to_thread(self._arrivals[digest].write, name, offset, piece)

    async def finish(self, digest: str) -> None:
        """Verify a model and keep it."""
        arrival = self._arrivals.pop(digest)
        try:
            await arrival.finish()
        finally:
            arrival.close()
            await self._turns.pop(digest).__aexit__(None, None, None)

    async def request_certificate(self, name: str) -> bytes:
        """Make a key for that name; the request for its certificate, in PEM form."""
        self._key, request = new_request(name)
        return request

    async def port(self, host: str) -> int:
        """A free port of that address of this node."""
        return free_port(host)

    async def start(self, order: Mapping[str, Any]) -> dict[str, int]:
        """Start the engine and the relay; the process's id and the port.

        Args:
            order: `argv`, `env`, the gateway's `python`, `package` and `socket`, and `digests` by the gateway's paths;
                the `host` to listen on, the `certificate` for it and the `authority`'s. Without a certificate nobody
                speaks to this process of the engine, and there is no relay: the port is 0.
        """
        paths = [
            (order["python"], sys.executable),
            (order["package"], str(PACKAGE)),
            (order["socket"], str(self._socket)),
        ]
        paths += [(path, str(self._files.path(digest))) for path, digest in order["digests"].items()]
        argv = with_paths(order["argv"], paths)
        port = 0
        if "certificate" in order:
            port = await self._relay.open(order["host"], self._key, order["certificate"], order["authority"])
        self._process = await EngineProcess.start(argv, order["env"], lambda line: self._news.tell("line", line))
        asyncio.get_running_loop().create_task(self._wait(self._process))  # ends with the process
        return {"pid": self._process.pid, "port": port}

    async def news(self) -> list[list[Any]]:
        """What has happened: `["line", text]` for a line of the engine's, `["exit", code]` at the end."""
        return await self._news.fetch()

    async def terminate(self, grace_s: float) -> None:
        """Have the engine end."""
        if self._process is not None:
            await self._process.terminate(grace_s)

    async def kill(self) -> None:
        """Kill the engine."""
        if self._process is not None:
            await self._process.kill()

    async def _wait(self, process: EngineProcess) -> None:
        await asyncio.wait({process.exited})
        await process.read_rest()
        self._relay.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._news.tell("exit", process.exited.result())


class JobHost:
    """Owns one process of a job."""

    def __init__(self) -> None:
        self._news = News()
        self._member: Member | None = None

    async def port(self, host: str) -> int:
        """A free port of that address of this node."""
        return free_port(host)

    async def start(self, order: Mapping[str, Any]) -> int:
        """Start the process; its id.

        Args:
            order: `argv`, `env`, `folder`, and whether its output is `heard`.
        """
        folder = Path(order["folder"])
        if not await asyncio.to_thread(folder.is_dir):
            raise EngineFailed("the job's folder is not there on the node; it must lie where all nodes reach it")
        heard = (lambda line: self._news.tell("line", line)) if order["heard"] else _unheard
        self._member = await Member.start(order["argv"], order["env"], folder, heard)
        asyncio.get_running_loop().create_task(self._wait(self._member))  # ends with the process
        return self._member.pid

    async def news(self) -> list[list[Any]]:
        """What has happened: `["line", text]` for a line it said, `["exit", code, complaint]` at the end."""
        return await self._news.fetch()

    async def ask(self) -> None:
        """Ask the process to end."""
        if self._member is not None:
            await self._member.ask()

    async def kill(self) -> None:
        """Kill the process, and all that it started."""
        if self._member is not None:
            await self._member.kill()

    async def _wait(self, member: Member) -> None:
        await asyncio.wait({member.exited})
        self._news.tell("exit", member.exited.result(), member.complaint)


def _unheard(line: str) -> None:
    """What only one process of a job is to say is nobody's business from another."""
