"""The gateway's end of the process that speaks Ray: orders go there, and what happens comes back."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog

from freehold.cluster.guard import guard_argv
from freehold.cluster.ray_wire import error_of
from freehold.config import cluster_environment
from freehold.errors import ConfigError, Unavailable

log = structlog.get_logger(__name__)

MODULE: Final = "freehold.cluster.ray_link"
CUT: Final = "cut"
"""The kind of the last event of each order where the process has ended: `["cut", why]`."""
_LONGEST_LINE_BYTES: Final = 1 << 26
_STOP_S: Final = 10.0
_JOIN_S: Final = 120.0


@dataclass(slots=True)
class _Order:
    """One that is not answered yet, or whose events go on."""

    answer: "asyncio.Future[Any]"
    on_event: Callable[[list[Any]], None]


@dataclass(slots=True)
class Link:
    """A running process that speaks Ray. Made by `join`.

    Args:
        process: the process.
        on_nodes: told of the nodes whenever they have changed.
        on_end: called when it has ended.
        nodes: as they were last.
        cluster: the cluster's own name.
    """

    process: asyncio.subprocess.Process
    on_nodes: Callable[[list[list[Any]]], None]
    on_end: Callable[[], None]
    nodes: list[list[Any]] = field(default_factory=list)
    cluster: str = ""
    _orders: dict[int, _Order] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _said: "deque[str]" = field(default_factory=lambda: deque(maxlen=20))
    _tasks: "list[asyncio.Task[None]]" = field(default_factory=list)
    _over: bool = False

    @classmethod
    async def join(
        cls,
        arguments: Mapping[str, Any],
        token: str,
        authority: Mapping[str, str],
        on_nodes: Callable[[list[list[Any]]], None],
        on_end: Callable[[], None],
    ) -> "Link":
        """Start the process and wait until it has joined the cluster.

        Args:
            arguments: see `freehold.cluster.ray_wire`.
            token: the cluster's.
            authority: the home's, its `key` and `certificate` in PEM form.
            on_nodes: see above.
            on_end: likewise.

        Raises:
            Unavailable: the cluster cannot be reached; says what to do.
            ConfigError: Ray is not installed.
        """
        argv = (sys.executable, "-P", "-m", MODULE, orjson.dumps(arguments).decode())
        process = await asyncio.create_subprocess_exec(
            *guard_argv(argv),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=_LONGEST_LINE_BYTES,
            env=cluster_environment(ray_environment(token)),
            start_new_session=True,
        )
        link = cls(process, on_nodes, on_end)
        link.post({"authority": authority})
        try:
            async with asyncio.timeout(_JOIN_S):
                await link._begin()
        except TimeoutError as exc:
            await link.close(grace_s=0)  # nothing runs there yet
            raise Unavailable(f"The cluster did not answer within {_JOIN_S:g} s.") from exc
        except BaseException:
            await link.close(grace_s=0)
            raise
        return link

    async def _begin(self) -> None:
        """Hear the first message, and go on hearing."""
        assert self.process.stdout is not None
        self._tasks.append(asyncio.create_task(self._hear_complaints(), name="complaints of the cluster's process"))
        first = await self.process.stdout.readline()
        if not first:
            await asyncio.wait(self._tasks, timeout=1.0)
            text = self._said[-1] if self._said else "it said nothing"
            if "No module named 'ray'" in text:
                raise ConfigError("cluster.address: Ray is not installed here: pip install 'freehold[cluster]'")
            raise Unavailable(f"The process that speaks to the cluster ended: {text}")
        message = orjson.loads(first)
        if "refused" in message:
            raise Unavailable(
                "This machine cannot join the cluster as a gateway: it must be one of its nodes ('freehold cluster "
                f"up') and have its token. {message['refused']}"
            )
        self.nodes, self.cluster = message["ready"], message["cluster"]
        self._tasks.append(asyncio.create_task(self._hear(), name="the cluster's process"))

    @property
    def alive(self) -> bool:
        """Whether orders can be given."""
        return self.process.returncode is None

    def numbers(self, count: int) -> int:
        """So many numbers for orders; the first of them."""
        first = next(self._numbers)
        for _ in range(count - 1):
            next(self._numbers)
        return first

    def listen(self, number: int, on_event: Callable[[list[Any]], None]) -> None:
        """Hear the events of a number that no order of its own has."""
        self._orders[number] = _Order(asyncio.get_running_loop().create_future(), on_event)

    async def order(
        self,
        do: str,
        on_event: Callable[[list[Any]], None] | None = None,
        number: int | None = None,
        *,
        ranks: int = 1,
        undo: str = "end",
        **values: Any,
    ) -> Any:
        """Give an order and wait for its answer; `on_event` goes on being told until the exit.

        Args:
            do: what is to be done.
            on_event: told what happens to what was begun by it.
            number: of the order; the next one where it is not given.
            ranks: how many numbers it uses.
            undo: the order that undoes for each of these what may have been done, if nobody waits for the answer.
            values: the rest of the order.

        Raises:
            Unavailable: the process has ended.
            FreeholdError: what the order was answered with.
        """
        if self._over:
            raise Unavailable("The cluster was lost: the process that speaks to it has ended.")
        number = next(self._numbers) if number is None else number
        order = _Order(asyncio.get_running_loop().create_future(), on_event or _unheard)
        self._orders[number] = order
        try:
            self.post({"n": number, "do": do, **values})
            answer = await order.answer
        except BaseException:
            for each in range(number, number + ranks):
                self._orders.pop(each, None)
                if on_event is not None:
                    self.post({"n": 0, "do": undo, "host": each})
            raise
        if on_event is None:
            self._orders.pop(number, None)
        return answer

    def post(self, order: Mapping[str, Any]) -> None:
        """Give an order that is not answered; whoever has gone does not hear it."""
        if self.process.stdin is not None and not self.process.stdin.is_closing():
            self.process.stdin.write(orjson.dumps(order) + b"\n")

    async def close(self, grace_s: float = _STOP_S) -> None:
        """End the process, and with it all that it has placed; kill it if it has not ended after that time."""
        if self.process.returncode is None:
            self.post({"n": 0, "do": "close"})
            if self.process.stdin is not None:
                self.process.stdin.close()
            try:
                async with asyncio.timeout(grace_s):
                    await self.process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                await self.process.wait()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    async def _hear(self) -> None:
        assert self.process.stdout is not None
        try:
            async for line in self.process.stdout:
                self._take(orjson.loads(line))
        finally:
            await self.process.wait()
            await asyncio.wait(self._tasks[:1], timeout=1.0)
            why = f"the process that speaks to the cluster ended: {self._said[-1] if self._said else 'it said nothing'}"
            orders, self._orders, self._over = self._orders, {}, True
            for order in orders.values():
                if not order.answer.done():
                    order.answer.set_exception(Unavailable(f"The cluster was lost: {why}"))
                    order.answer.exception()  # there may be nobody who waits for it
                order.on_event([CUT, why])
            self.on_end()

    def _take(self, message: Mapping[str, Any]) -> None:
        if "nodes" in message:
            self.nodes = message["nodes"]
            self.on_nodes(self.nodes)
            return
        order = self._orders.get(message["n"])
        if order is None:
            return
        if "event" in message:
            order.on_event(message["event"])
            if message["event"][0] == "exit":
                self._orders.pop(message["n"], None)
        elif order.answer.done():
            return
        elif "error" in message:
            order.answer.set_exception(error_of(message))
        else:
            order.answer.set_result(message["ok"])

    async def _hear_complaints(self) -> None:
        assert self.process.stderr is not None
        with contextlib.suppress(ValueError):  # an overlong line
            async for raw in self.process.stderr:
                if line := raw.decode(errors="replace").strip():
                    self._said.append(line[:2000])
                    log.info("cluster_log", line=line[:2000])


def ray_environment(token: str) -> dict[str, str]:
    """The environment of processes that speak Ray: with the token, and without telling anybody of their use."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_USAGE_STATS_ENABLED": "0"}


def _unheard(event: list[Any]) -> None:
    """Most orders have no events."""
