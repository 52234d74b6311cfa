"""What runs on the nodes of a Ray cluster, as the gateway has it: an engine, and a process of a job."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from freehold.cluster.process import TAIL_LINES, described
from freehold.cluster.ray_process import Link
from freehold.cluster.ray_wire import LOST_CODE
from freehold.errors import FreeholdError

_EXIT_WAIT_S: Final = 5.0


class RayHosted:
    """An engine on a node. See `freehold.cluster.base.Hosted`."""

    def __init__(self, link: Link, number: int, on_line: Callable[[str], None], report: Callable[[str], None]) -> None:
        self.pid = 0
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.lost = False
        self._why = ""
        self._link = link
        self._number = number
        self._on_line = on_line
        self._report = report

    def take(self, event: list[Any]) -> None:
        """Hear what happens to it."""
        if event[0] == "line":
            self.tail.append(event[1])
            self._on_line(event[1])
        elif event[0] == "report":
            self._report(event[1])
        elif not self.exited.done():
            self._why = event[2] if len(event) > 2 else ""
            self.lost = bool(self._why)
            self.exited.set_result(event[1])

    def describe_exit(self) -> str:
        """See `Hosted.describe_exit`."""
        code = self.exited.result()
        return f"the engine ended: {self._why}" if self._why else described(code)

    async def terminate(self, grace_s: float) -> None:
        """See `Hosted.terminate`."""
        await self._ask("terminate", grace_s, grace_s + _EXIT_WAIT_S)
        await self.kill()

    async def kill(self) -> bool:
        """See `Hosted.kill`."""
        if not self.exited.done():
            await self._ask("kill", None, _EXIT_WAIT_S)
        self._link.post({"n": 0, "do": "end", "host": self._number})
        if not self.exited.done():  # its node is not heard any more; the cluster ends it as soon as it is
            self.take(["exit", LOST_CODE, "its node does not answer"])
        return True

    async def read_rest(self) -> None:
        """See `Hosted.read_rest`: all has been read."""

    async def _ask(self, method: str, argument: float | None, wait_s: float) -> None:
        if self.exited.done():
            return
        arguments = [] if argument is None else [argument]
        call = self._link.order("call", host=self._number, method=method, arguments=arguments)
        asking = asyncio.create_task(call)
        await asyncio.wait({self.exited}, timeout=wait_s)
        await _given_up(asking)


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
