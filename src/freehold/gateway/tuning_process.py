"""The process that fine-tunes, wherever it runs: here, or on a node of the cluster, spoken with in the same way.

On a node it is a job of the cluster as a training is: its folder is reached there under the same path, and its base
comes to the node's own models. What it is told goes to its standard input, and there it has no network either.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import orjson

from freehold.cluster.base import Cluster, JobOrder, JobPhase, JobStatus
from freehold.errors import EngineFailed, JobProcessFailed, NotFound
from freehold.gateway.training_needs import Needs
from freehold.gateway.tuning_messages import NODE_LOST, NODE_UNREADY
from freehold.gateway.tuning_python import Trainer
from freehold.jobs.process import SANDBOX, Bounds, JobProcess, message_of
from freehold.jobs.sandbox import REFUSED
from freehold.training.finetune.protocol import STOPPED
from freehold.types.cluster import NODE_HOME

_ITS_PARENT: Final = 0
"""Whoever starts it on its node, which nobody here can name."""


@dataclass(frozen=True, slots=True)
class Program:
    """How the process is run.

    Args:
        trainer: the program.
        memory_bytes: what it may need; None for any.
        isolate: whether it has no network.
        hidden: see `JobProcess`; the base is read, too.
        nodes: on which it runs; None for this machine.
    """

    trainer: Trainer
    memory_bytes: int | None
    isolate: bool
    hidden: tuple[Path, ...] = ()
    nodes: Cluster | None = None


@dataclass(frozen=True, slots=True)
class Beginning:
    """One run of the program.

    Args:
        id: names it; no other run ever has it.
        folder: of the job, with its task.
        base: the file of the model that it begins with.
        sha256: of that file, in hex.
        needs: what the job has.
        nodes: the node that was chosen for it; empty where the cluster is to choose, or it runs here.
    """

    id: str
    folder: Path
    base: Path
    sha256: str
    needs: Needs
    nodes: tuple[str, ...]


class Process(Protocol):
    """A process that runs while its block does, and has gone when that is left; see `JobProcess`.

    Attributes:
        complaint: the end of what it wrote to standard error.
    """

    @property
    def complaint(self) -> str:
        """See above."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What it says, until it has ended.

        Raises:
            JobProcessFailed: it is no message, or it cannot be started on its node.
            NoRoom, Unavailable: its node has no room now, or the cluster cannot be reached.
        """

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Write a message to it; one that has ended does not hear it."""

    async def wait(self) -> int:
        """Its exit status, once all that it says was taken; `NODE_LOST` where nobody knows.

        Raises:
            JobProcessFailed: it cannot be kept from the network where it is, and was not run.
        """

    async def ended(self, within_s: float) -> bool:
        """Whether it ends within this time."""

    def kill(self) -> None:
        """Kill it and all that it started."""


def process_of(program: Program, begun: Beginning) -> Process:
    """The process of a run, not started yet."""
    trainer, needs = program.trainer, begun.needs
    arguments = (str(begun.folder), str(begun.base))
    environment = {**trainer.environment, "TMPDIR": str(begun.folder)}
    if needs.device == "cpu":  # what it was not given it does not see
        environment["CUDA_VISIBLE_DEVICES"] = ""
    readable = (begun.base,) if program.hidden else ()
    if program.nodes is None:
        return JobProcess(
            trainer.module,
            arguments,
            begun.folder,
            python=trainer.python,
            environment=environment,
            memory_bytes=program.memory_bytes,
            isolate=program.isolate,
            hidden=program.hidden,
            readable=readable,
        )
    hidden = (NODE_HOME, *map(str, program.hidden)) if program.hidden else ()
    bounds = Bounds(program.memory_bytes, program.isolate, hidden, tuple(map(str, readable)))
    order = JobOrder(
        id=begun.id,
        module=SANDBOX,
        arguments=(*bounds.arguments(_ITS_PARENT), trainer.module, *arguments),
        members=needs.members(),
        zones=None,
        folder=begun.folder,
        python=trainer.python,
        env={**environment, "OMP_NUM_THREADS": str(needs.threads)},
        nodes=begun.nodes,
        files={begun.base: begun.sha256},
    )
    return NodeProcess(program.nodes, order)


class NodeProcess:
    """See `Process`: one on a node. It may take a while to begin, as its base may have to be copied there.

    Args:
        cluster: has the nodes.
        order: what is run.
    """

    def __init__(self, cluster: Cluster, order: JobOrder) -> None:
        self._cluster = cluster
        self._order = order
        self._status = JobStatus(JobPhase.PENDING)
        self._over = asyncio.Event()
        self._begins: asyncio.Task[None] | None = None
        self._kills: asyncio.Task[None] | None = None

    @property
    def complaint(self) -> str:
        """See `Process.complaint`: the last line of it."""
        return self._status.detail

    async def __aenter__(self) -> Self:
        """Have it begin."""
        self._begins = asyncio.create_task(self._cluster.submit(self._order), name=f"begin {self._order.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self._kills is not None
        await asyncio.wait({self._kills})

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """See `Process.messages`. A last line that does not come to its end is dropped."""
        try:
            await asyncio.wait({self._beginning})
            if self._beginning.cancelled():
                return
            try:
                self._beginning.result()
            except EngineFailed as exc:
                raise JobProcessFailed(f"A node cannot begin a job: {exc.message}", code=NODE_UNREADY) from exc
            odd: JobProcessFailed | None = None
            async for line in self._cluster.logs(self._order.id):
                if odd is not None:
                    raise odd
                try:
                    message = message_of(line)
                except JobProcessFailed as exc:
                    odd = exc
                else:
                    yield message
            self._status = await self._cluster.status(self._order.id)
        finally:
            self._over.set()

    async def tell(self, message: Mapping[str, Any]) -> None:
        """See `Process.tell`. To one that has not begun nothing is told but to stop, and so it never does."""
        if not self._beginning.done():
            self._beginning.cancel()
            return
        with suppress(NotFound):  # it could not begin
            await self._cluster.tell(self._order.id, orjson.dumps(message).decode())

    async def wait(self) -> int:
        """See `Process.wait`."""
        await self._over.wait()
        status = self._status
        if self._beginning.cancelled():
            return STOPPED
        if status.lost:
            return NODE_LOST
        if status.phase is JobPhase.CANCELLED:
            return -signal.SIGKILL
        if status.code == REFUSED:
            raise JobProcessFailed(status.detail)
        return status.code

    async def ended(self, within_s: float) -> bool:
        """See `Process.ended`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._over.wait()
        return self._over.is_set()

    def kill(self) -> None:
        """See `Process.kill`."""
        if self._kills is None:
            self._kills = asyncio.create_task(self._killed(), name=f"kill {self._order.id}")

    async def _killed(self) -> None:
        self._beginning.cancel()
        await asyncio.wait({self._beginning})
        if not self._beginning.cancelled() and self._beginning.exception() is None:
            await self._cluster.cancel(self._order.id, 0.0)

    @property
    def _beginning(self) -> "asyncio.Task[None]":
        assert self._begins is not None, "the block is entered"
        return self._begins
