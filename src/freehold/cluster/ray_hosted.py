"""What runs on the nodes of a Ray cluster, as the gateway has it: an engine, and a process of a job."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from freehold.cluster.process import TAIL_LINES, described
from freehold.cluster.ray_process import CUT, Link
from freehold.cluster.ray_wire import LOST_CODE
from freehold.errors import FreeholdError

_EXIT_WAIT_S: Final = 5.0


class RayHosted:
    """An engine's process on a node. See `freehold.cluster.base.Hosted`.

    Args:
        link: the way to it.
        number: by which it is known there.
        on_line: told each line that it writes.
        report: told how far its node is.
        on_cut: called when the way to it was lost, and it may be found again by another one.
        goes_on: says whether it is to go on where it is told to end, for another gateway.

    Attributes:
        lost: whether it ended with its node.
        cut: whether the way to it is lost just now.
        elsewhere: whether it has not ended at all, but is in other hands, or in nobody's.
    """

    def __init__(
        self,
        link: Link,
        number: int,
        on_line: Callable[[str], None],
        report: Callable[[str], None],
        on_cut: Callable[[], None],
        goes_on: Callable[[], bool],
    ) -> None:
        self.pid = 0
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.lost = self.cut = self.elsewhere = False
        self._why = ""
        self._link = link
        self._number = number
        self._on_line = on_line
        self._report = report
        self._on_cut = on_cut
        self._goes_on = goes_on

    def take(self, event: list[Any]) -> None:
        """Hear what happens to it."""
        if event[0] == "line":
            self.tail.append(event[1])
            self._on_line(event[1])
        elif event[0] == "report":
            self._report(event[1])
        elif self.exited.done():
            return
        elif event[0] == CUT:
            self.cut = True
            self._on_cut()
        else:
            self._why = event[2] if len(event) > 2 else ""
            self.lost = event[1] == LOST_CODE and bool(self._why)
            self.elsewhere = event[1] == 0 and bool(self._why)
            self.exited.set_result(event[1])

    @property
    def number(self) -> int:
        """By which it is known to the process that speaks Ray."""
        return self._number

    def found(self, link: Link, number: int) -> None:
        """Hear of it by another way from now on."""
        self._link, self._number, self.cut = link, number, False

    def describe_exit(self) -> str:
        """See `Hosted.describe_exit`."""
        code = self.exited.result()
        return f"the engine ended: {self._why}" if self._why else described(code)

    async def terminate(self, grace_s: float) -> None:
        """See `Hosted.terminate`."""
        if self._goes_on():
            await self.let_go()
            return
        await self._ask("terminate", grace_s, grace_s + _EXIT_WAIT_S)
        await self.kill()

    async def kill(self) -> bool:
        """See `Hosted.kill`."""
        if self._goes_on():
            await self.let_go()
            return True
        if not self.exited.done():
            await self._ask("kill", None, _EXIT_WAIT_S)
        self._link.post({"n": 0, "do": "end", "host": self._number})
        if not self.exited.done():  # its node is not heard any more; the cluster ends it as soon as it is
            self.take(["exit", LOST_CODE, "its node does not answer"])
        return True

    async def read_rest(self) -> None:
        """See `Hosted.read_rest`: all has been read."""

    async def let_go(self) -> None:
        """Leave it to whoever takes it."""
        if self.exited.done():
            return
        releasing = asyncio.create_task(self._link.order("release", host=self._number))
        await asyncio.wait({releasing}, timeout=_EXIT_WAIT_S)
        await _given_up(releasing)
        self.take(["exit", 0, "it goes on for another gateway"])

    async def _ask(self, method: str, argument: float | None, wait_s: float) -> None:
        if self.exited.done():
            return
        arguments = [] if argument is None else [argument]
        call = self._link.order("call", host=self._number, method=method, arguments=arguments)
        asking = asyncio.create_task(call)
        await asyncio.wait({self.exited}, timeout=wait_s)
        await _given_up(asking)


@dataclass(slots=True)
class RayEngine:
    """An engine in this gateway's hands.

    Args:
        name: of its host.
        group: of the room for its processes, where there are several; else empty.
        workload: names it, as the replica's id.
        members: its processes.
    """

    name: str
    group: str
    workload: str
    members: Sequence[RayHosted]

    def give_up(self, why: str) -> None:
        """Have it count as lost."""
        for member in self.members:
            member.take(["exit", LOST_CODE, why])

    async def let_go(self) -> None:
        """Leave it to whoever takes it."""
        await asyncio.gather(*(member.let_go() for member in self.members))


class RayMember:
    """A process of a job on a node. See `freehold.cluster.member.Running`."""

    def __init__(self, link: Link, number: int, on_line: Callable[[str], None]) -> None:
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.complaint = ""
        self.lost = False
        self._link = link
        self._number = number
        self._on_line = on_line

    def take(self, event: list[Any]) -> None:
        """Hear what happens to it."""
        if event[0] == "line":
            self._on_line(event[1])
        elif event[0] == CUT:
            self.take(["exit", LOST_CODE, event[1]])
        elif event[0] == "exit" and not self.exited.done():
            self.complaint = event[2]
            self.lost = event[1] < 0 and "lost" in event[2]
            self.exited.set_result(event[1])

    async def ask(self) -> None:
        """See `Running.ask`."""
        await self._call("ask")

    async def kill(self) -> None:
        """See `Running.kill`."""
        await self._call("kill")
        await asyncio.wait({self.exited}, timeout=_EXIT_WAIT_S)
        self._link.post({"n": 0, "do": "end", "host": self._number})
        self.take(["exit", LOST_CODE, "its node does not answer"])

    async def _call(self, method: str) -> None:
        asking = asyncio.create_task(self._link.order("call", host=self._number, method=method, arguments=[]))
        await asyncio.wait({asking, self.exited}, timeout=_EXIT_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        await _given_up(asking)


async def _given_up(task: "asyncio.Task[Any]") -> None:
    """Wait no longer for an answer; that there is an error instead is as good."""
    task.cancel()
    await asyncio.wait({task})
    with contextlib.suppress(asyncio.CancelledError, FreeholdError):
        task.exception()
