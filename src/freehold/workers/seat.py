"""A worker's seat in the core: starts the process, speaks with it, and starts another when it ends."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

import structlog

from freehold.config import SupervisorSettings
from freehold.errors import FreeholdError, HomeError
from freehold.serving.backoff import Backoff
from freehold.workers.clerk import Clerk, Core
from freehold.workers.link import Link
from freehold.workers.order import Order
from freehold.workers.summed import counted

log = structlog.get_logger(__name__)

LINGER_S: Final = 2.0
"""How long who takes no more connections waits before it closes idle ones: of one that has just been taken the
request is on its way."""
_ASK_S: Final = 2.0
"""How long a worker may take to tell what it has counted."""
_END_S: Final = 5.0
"""How long a worker may take to end once nothing is asked of it any more."""


class Standing(Protocol):
    """What takes requests in place of a worker."""

    def accept_no_more(self) -> None:
        """Leave new connections to others that listen there; those that there are go on."""


StandIn: TypeAlias = Callable[[socket.socket], AbstractAsyncContextManager[Standing]]
"""Takes requests on a socket for callers while the block runs."""


class SeatState(StrEnum):
    """How a worker is."""

    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"


class Seat:
    """One worker after the other, each with the same name and the same socket for callers.

    Args:
        core: what the core does for it.
        order: what it is told; link and listener are set here.
        listener: on which callers come.
        limits: how long to wait before another start.
        greeting: gives what a worker that begins must know.
        changed: called when the state has changed.
        stand_in: takes requests in the core while there is no worker.
    """

    def __init__(
        self,
        core: Core,
        order: Order,
        listener: socket.socket,
        limits: SupervisorSettings,
        greeting: Callable[[], Mapping[str, Any]],
        changed: Callable[[], None],
        stand_in: StandIn,
    ) -> None:
        self._core = core
        self._order = order
        self._listener = listener
        self._limits = limits
        self._backoff = Backoff(limits)
        self._greeting = greeting
        self._changed = changed
        self._stand_in = stand_in
        self._standing: set[asyncio.Task[None]] = set()
        self._missed = False
        self._asked: asyncio.Future[Any] | None = None
        self._asked_at = 0.0
        self._link: Link | None = None
        self._clerk: Clerk | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when a worker has ended that was not to end."""
        self._stopping = False
        self._starts = 0
        self._counted = b""
        self.gone = b""
        """What the workers that are gone had counted when they were asked last."""
        self.state = SeatState.STARTING
        self.name = order.name
        self._miss()
        self._life = asyncio.create_task(self._live(), name=f"worker {order.name}")

    @property
    def attached(self) -> bool:
        """Whether there is a worker that hears of changes."""
        return self._link is not None and not self._link.closed

    async def begun(self) -> None:
        """Wait until the first worker takes requests.

        Raises:
            HomeError: it has ended before.
        """
        ready = asyncio.create_task(self._ready.wait())
        either: set[asyncio.Future[Any]] = {ready, self._failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            raise HomeError(f"the worker {self.name} cannot be started; the log above says why")

    def report(self) -> dict[str, Any]:
        """How it is, for people."""
        return {
            "name": self.name,
            "state": self.state.value,
            "pid": None if self._process is None else self._process.pid,
            "restarts": max(0, self._starts - 1),
            "running": 0 if self._clerk is None else self._clerk.running,
        }

    def notice(self, tables: Sequence[str], state: Mapping[str, Any]) -> asyncio.Future[Any]:
        """Tell the worker what has changed; the future is done when that is in force there."""
        assert self._link is not None, "told to who is attached"
        return self._link.ask("notice", tables, state)

    async def exposition(self) -> bytes:
        """What the worker has counted; nothing where it does not say."""
        if self._link is None or self.state is not SeatState.READY:
            return b""
        try:
            told: str = await asyncio.wait_for(self._link.ask("metrics"), _ASK_S)
        except (FreeholdError, TimeoutError) as exc:
            log.warning("worker_silent", worker=self.name, error=type(exc).__name__)
            return b""
        self._counted = told.encode()
        return self._counted

    def look(self) -> None:
        """See whether the worker still answers; one that has not for long is killed."""
        if self._link is None or self.state is not SeatState.READY:
            self._asked = None
        elif self._asked is None or self._asked.done():
            self._asked, self._asked_at = self._link.ask("look"), time.monotonic()
        elif time.monotonic() - self._asked_at > self._limits.probe_timeout_s:
            log.error("worker_silent", worker=self.name, seconds=self._limits.probe_timeout_s)
            self.kill()

    async def drain(self, deadline_s: float) -> int:
        """Have the worker let its requests finish; how many it had to cut off."""
        self._stopping = True
        if self._link is None or self.state is not SeatState.READY:
            return 0
        cut_off: int = await self._link.ask("drain", deadline_s)
        return cut_off

    def abort(self) -> None:
        """Have the worker cut off what still runs."""
        if self._link is not None:
            self._link.post("abort")

    def kill(self) -> None:
        """End the worker at once."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End the worker, and start no other."""
        self._stopping = True
        if self._link is not None:
            self._link.close()
        for standing in self._standing:
            standing.cancel()
        if self._standing:
            await asyncio.wait(set(self._standing))
        if self._process is None:
            self._life.cancel()
        done, _ = await asyncio.wait({self._life}, timeout=_END_S)
        if not done:
            self.kill()
            self._life.cancel()
            await asyncio.wait({self._life})
        self._enter(SeatState.STOPPED)

    async def _live(self) -> None:
        while not self._stopping:
            ready_s = await self._serve()
            if self._stopping:
                return
            if not self._failed.done():
                self._failed.set_result(None)
            log.warning("worker_missed", worker=self.name)
            self._miss()
            delay_s = self._backoff.after_failure(ready_s=ready_s, permanent=False)
            self._enter(SeatState.BACKING_OFF)
            log.warning("worker_restarting", worker=self.name, delay_s=round(delay_s, 3), starts=self._starts)
            await asyncio.sleep(delay_s)

    def _miss(self) -> None:
        """Have the core take the requests until a worker does."""
        self._ready.clear()
        if not self._missed:
            self._missed = True
            standing = asyncio.create_task(self._stand(), name=f"stand in for {self.name}")
            self._standing.add(standing)
            standing.add_done_callback(self._standing.discard)

    async def _stand(self) -> None:
        async with self._stand_in(self._listener.dup()) as here:
            await self._ready.wait()
            self._missed = False
            here.accept_no_more()
            await asyncio.sleep(LINGER_S)

    async def _serve(self) -> float | None:
        """One process, from its start to its end; how many seconds it was ready."""
        self._enter(SeatState.STARTING)
        self._starts += 1
        began: list[float] = []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        clerk = self._clerk = Clerk(self._core, self.name)
        closed = asyncio.Event()

        def heard(number: int, kind: str, values: Sequence[Any]) -> None:
            if kind == "hello":
                link.answer(number, self._greeting())
            elif kind == "ready":
                began.append(time.monotonic())
                self._ready.set()
                self._enter(SeatState.READY)
                link.answer(number)
                log.info("worker_ready", worker=self.name, starts=self._starts)
            elif kind == "leaving":
                self._miss()
            else:
                clerk.heard(number, kind, values)

        link = clerk.link = Link(heard, closed.set)
        try:
            process = self._process = await self._start(theirs)
            loop = asyncio.get_running_loop()
            await loop.create_unix_connection(lambda: link, sock=ours)
            self._link = link
            await closed.wait()
            if not self._stopping:
                self.kill()  # one that has lost its link serves nobody any more
            code = await process.wait()
            log.log(20 if self._stopping else 30, "worker_ended", worker=self.name, pid=process.pid, code=code)
        finally:
            self.kill()
            self._link = None
            self._process = None
            self._ready.clear()
            clerk.lost()
            self.gone, self._counted = (counted(self._counted) if self._counted else b""), b""
        return time.monotonic() - began[0] if began else None

    async def _start(self, theirs: socket.socket) -> asyncio.subprocess.Process:
        """Start the process and tell it what it is to do."""
        numbers = self._listener.fileno(), theirs.fileno()
        order = replace(self._order, listener=numbers[0], link=numbers[1])
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "freehold.worker",
                stdin=asyncio.subprocess.PIPE,
                pass_fds=numbers,
                start_new_session=True,
            )
        finally:
            theirs.close()
        assert process.stdin is not None, "it is a pipe"
        process.stdin.write(order.packed())
        process.stdin.close()
        return process

    def _enter(self, state: SeatState) -> None:
        if state is not self.state:
            self.state = state
            self._changed()
