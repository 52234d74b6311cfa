"""What runs on a node: an actor that owns one engine process and relays to it, or one process of a job.

Nothing here knows of Ray, which makes actors of these classes (`freehold.cluster.ray_link`) and calls their methods,
one after another or at once. What happens is fetched by `news`, which waits until there is some. FreeholdError and
OSError are passed on to the caller.

The host of an engine outlives the gateway that made it. It is in the hands of one gateway at a time (`custody`), may be
taken over by another, and ends with its engine when it was not heard of any for the time of grace.
"""

import asyncio
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, Final

import freehold
from freehold.cluster.authority import new_request
from freehold.cluster.custody import Custody
from freehold.cluster.member import Member, free_port
from freehold.cluster.node_files import Arrival, Listing, NodeFiles, with_paths
from freehold.cluster.process import EngineProcess
from freehold.cluster.relay import Relay
from freehold.config import home_from_environment
from freehold.errors import Conflict, EngineFailed, NotFound
from freehold.store.home import Home

PACKAGE: Final = Path(freehold.__file__).parent
HEAR_S: Final = 2.0
"""Whoever fetches news has an answer after so long, and is heard again when it asks for more."""
TAKEN: Final = "taken"
"""The kind of the news for one in whose hands the host is no more."""
_LAST_GRACE_S: Final = 5.0
"""How long an engine that nobody wants may take to end by itself."""
_SLOWEST_LOOK_S: Final = 1.0
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
        return self.take()

    async def come(self, within_s: float) -> None:
        """Wait until something has happened, for at most that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._more.wait()

    def stir(self) -> None:
        """Have whoever waits look, though nothing has happened."""
        self._more.set()

    def take(self) -> list[list[Any]]:
        """What has happened since the last time."""
        self._more.clear()
        pieces, self._pieces = self._pieces, []
        return pieces


def leave_process() -> None:
    """End this process at once, and by the kernel what it has started under guard."""
    os._exit(0)


class EngineHost:
    """Owns one engine process.

    Args:
        hand: in whose hands it is at first; see `freehold.cluster.custody`.
        owner: which gateway that is.
        epoch: in whose name.
        grace_s: it ends when no gateway was heard for so long.
        leave: ends this process.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        hand: str,
        owner: str,
        epoch: int,
        grace_s: float,
        leave: Callable[[], None] = leave_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._news = News()
        self._custody = Custody(hand, owner, epoch, clock)
        self._folder = Path(tempfile.mkdtemp(prefix="fh-"))
        self._files = NodeFiles(Home(home_from_environment()).models)
        self._socket = self._folder / "engine.sock"
        self._relay = Relay(self._socket, self._custody.called)
        self._process: EngineProcess | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrivals: dict[str, Arrival] = {}
        self._turns: dict[str, AbstractAsyncContextManager[None]] = {}
        self._key = b""
        self._record: dict[str, Any] = {}
        self._grace_s = grace_s
        self._leave = leave
        self._closed = threading.Event()
        threading.Thread(target=self._end_forgotten, name="orphan's end", daemon=True).start()

    async def about(self) -> dict[str, str]:
        """This node's version of Freehold."""
        self._custody.heard()
        return {"version": freehold.__version__, "python": sys.version.split()[0]}

    async def missing(self, digest: str) -> bool:
        """Whether a model is not here."""
        return not self._files.has(digest)

    async def begin(self, digest: str, files: Sequence[tuple[str, int]]) -> bool:
        """Take a model, once no other process of this node takes it; whether it is still missing then."""
        turn = self._files.turn(digest)
        with self._custody.at_work():
            await turn.__aenter__()
        if self._files.has(digest):
            await turn.__aexit__(None, None, None)
            return False
        self._turns[digest] = turn
        self._arrivals[digest] = self._files.begin(Listing(digest, tuple((name, size) for name, size in files)))
        return True

    async def take(self, digest: str, name: str, offset: int, piece: bytes) -> None:
        """Take a piece of a model's file."""
        with self._custody.at_work():
            await asyncio.to_thread(self._arrivals[digest].write, name, offset, piece)

    async def finish(self, digest: str) -> None:
        """Verify a model and keep it."""
        arrival = self._arrivals.pop(digest)
        try:
            with self._custody.at_work():
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
                the `host` to listen on, the `certificate` for it and the `authority`'s; and the `record` by which it is
                found later. Without a certificate nobody speaks to this process of the engine, and there is no relay:
                the port is 0.
        """
        paths = [
            (order["python"], sys.executable),
            (order["package"], str(PACKAGE)),
            (order["socket"], str(self._socket)),
        ]
        paths += [(path, str(self._files.path(digest))) for path, digest in order["digests"].items()]
        argv = with_paths(order["argv"], paths)
        self._loop, port = asyncio.get_running_loop(), 0
        if "certificate" in order:
            port = await self._relay.open(order["host"], self._key, order["certificate"], order["authority"])
        self._process = await EngineProcess.start(argv, order["env"], lambda line: self._news.tell("line", line))
        self._loop.create_task(self._wait(self._process))  # ends with the process
        started = {"pid": self._process.pid, "port": port}
        self._record = {**order["record"], "host": order["host"], **started}
        self._custody.heard()
        return started

    async def record(self) -> dict[str, Any]:
        """By what it is found: in whose hands it is, whether its engine `runs`, and what that was started with."""
        custody = self._custody
        had = {"owner": custody.owner, "epoch": custody.epoch, "silent_s": custody.silent_s, "held": custody.held}
        runs = bool(self._record) and self._process is not None and not self._process.exited.done()
        return {**self._record, **had, "runs": runs}

    async def attach(self, hand: str, owner: str, epoch: int, workload: str) -> int:
        """Come into other hands, under that id of a replica; the process's id.

        Raises:
            NotFound: the engine has ended.
            Conflict: as of `Custody.take`.
        """
        if self._process is None or self._process.exited.done():
            raise NotFound("The engine has ended.")
        self._custody.take(hand, owner, epoch)
        self._record["workload"] = workload
        self._news.stir()  # who had it before and waits is told
        return self._process.pid

    async def news(self, hand: str) -> list[list[Any]]:
        """What has happened: `["line", text]` for a line of the engine's, `["exit", code]` at the end.

        Waits a while until there is something. Who has the host no more is told `["taken", by whom]`.
        """
        if self._custody.has(hand):
            self._custody.heard()
            await self._news.come(HEAR_S)
        if not self._custody.has(hand):
            return [[TAKEN, self._custody.owner]]
        self._custody.heard()
        return self._news.take()

    async def terminate(self, hand: str, grace_s: float) -> None:
        """Have the engine end. Raises Conflict: it is in other hands."""
        self._only(hand)
        if self._process is not None:
            with self._custody.at_work():
                await self._process.terminate(grace_s)

    async def kill(self, hand: str) -> None:
        """Kill the engine. Raises Conflict: it is in other hands."""
        self._only(hand)
        if self._process is not None:
            await self._process.kill()

    async def release(self, hand: str) -> None:
        """Go on for whoever takes it next."""
        self._custody.let_go(hand)

    async def renew(self, hand: str, epoch: int) -> bool:
        """Be in the same hands in the name of a later epoch; false if it is in others."""
        return self._custody.renew(hand, epoch)

    async def give_up(self, hand: str) -> bool:
        """Be taken by nobody any more, before it is ended by who has it; false if it is in other hands."""
        return self._custody.close(hand)

    def close(self) -> None:
        """Not end by itself any more; for one who ends it himself."""
        self._closed.set()

    def _only(self, hand: str) -> None:
        if not self._custody.has(hand):
            raise Conflict(f"The gateway '{self._custody.owner}' has the engine now.")

    async def _wait(self, process: EngineProcess) -> None:
        await asyncio.wait({process.exited})
        await process.read_rest()
        self._relay.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._news.tell("exit", process.exited.result())

    def _end_forgotten(self) -> None:
        """End everything when no gateway was heard for the time of grace. A thread of its own, which nothing holds."""
        while not self._custody.give_up(self._grace_s):
            if self._closed.wait(min(_SLOWEST_LOOK_S, self._grace_s / 4)):
                return
        try:
            if self._process is not None and self._loop is not None:
                ending = asyncio.run_coroutine_threadsafe(self._process.terminate(_LAST_GRACE_S), self._loop)
                with suppress(TimeoutError):
                    ending.result(3 * _LAST_GRACE_S)
        finally:  # whatever went wrong: with this process the kernel ends the engine, and the node is free
            shutil.rmtree(self._folder, ignore_errors=True)
            self._leave()


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
