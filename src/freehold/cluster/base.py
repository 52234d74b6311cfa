"""The contract of clusters: `place` an engine, `submit` a job; ask for its `status`, its `logs`, or its end (`cancel`).

A cluster starts what it is told to where there is room for it. It does not decide who goes first: that is the
arbiter's. What runs on a node that is lost has ended; whoever placed it places it again.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from freehold.errors import NotFound
from freehold.types.address import Address
from freehold.types.cluster import Node, Resources, WorkClass


class Hosted(Protocol):
    """A running engine process, wherever it is; `freehold.cluster.process.EngineProcess` is the one of this machine.

    Attributes:
        pid: on its own machine, for people; 0 where it has none yet.
        exited: done with the exit code (negative: the signal) as soon as the process, or its node, is gone.
        tail: the last lines that it wrote.
    """

    @property
    def pid(self) -> int:
        """See above."""

    @property
    def exited(self) -> "asyncio.Future[int]":
        """See above."""

    @property
    def tail(self) -> "deque[str]":
        """See above."""

    def describe_exit(self) -> str:
        """How the process ended, in words."""

    async def terminate(self, grace_s: float) -> None:
        """Ask the process to end; kill it if it has not after `grace_s`. Returns when it is gone."""

    async def kill(self) -> bool:
        """Kill it at once; whether it is gone."""

    async def read_rest(self) -> None:
        """Wait, after the exit, for the last of the output."""


@dataclass(frozen=True, slots=True)
class Part:
    """One more process of an engine that spans several nodes, beside its first.

    Args:
        argv: the program, as in `Placement`.
        env: what its environment has besides its node's own.
        needs: what must be free on its node.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    needs: Resources


@dataclass(frozen=True, slots=True)
class Placement:
    """One engine to be started: a process, or several that belong together, of which the first is spoken to.

    Several are placed at once or not at all, and when one of them ends, so do the others. Where `OWN_ADDRESS`,
    `MASTER_ADDRESS` and `MASTER_PORT` of `freehold.types.cluster` stand in their arguments and environments, what they
    stand for is put in.

    Args:
        workload: names it, as the replica's id.
        argv: the program; paths of weights in it are those of this machine, and so are `socket` and the interpreter.
        env: what its environment has besides its node's own.
        needs: what must be free on the node.
        zones: where it may run; None for anywhere.
        files: those that the program reads, files or folders, with their SHA-256 in hex as the catalog names them; the
            node must have them, by its own copy.
        socket: the Unix socket by which it would be reached on this machine.
        nodes: the ids of the nodes that were chosen for it and its `others`, in their order; empty where the cluster is
            to choose.
        others: its processes besides the first.
        deployment: which it serves; whoever finds it later goes by that.
        work_class: whose work it is.
        project: likewise; None where it is nobody's own.
    """

    workload: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    needs: Resources
    zones: frozenset[str] | None
    files: Mapping[Path, str]
    socket: Path
    nodes: tuple[str, ...] = ()
    others: tuple[Part, ...] = ()
    deployment: str = ""
    work_class: WorkClass = WorkClass.API
    project: str | None = None

    @property
    def members(self) -> tuple[Resources, ...]:
        """What each of its processes needs."""
        return (self.needs, *(other.needs for other in self.others))


@dataclass(frozen=True, slots=True)
class Placed:
    """A placed engine.

    Args:
        process: its process; of several all of them, as one.
        address: where it will listen.
        node: the id of its node, of several processes that of the first.
        others: the ids of the nodes of the others, in their order.
    """

    process: Hosted
    address: Address
    node: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostedRecord:
    """An engine that runs on the cluster in nobody's hands here, as every gateway of its home finds it.

    Args:
        name: of what hosts it; no other of this home ever has it.
        workload: names it, as the replica's id. Whoever attaches may give it another one.
        deployment: which it serves.
        digest: of all that must be equal for it to be used in place of a new one (`freehold.cluster.likeness`).
        node: the id of its node.
        address: where it listens.
        pid: of its process, on its node.
        needs: what it has of its node.
        zones: where it may run; None for anywhere.
        work_class: whose work it is.
        project: likewise; None where it is nobody's own.
        owner: the gateway that had it last.
        epoch: in whose name that was; see `Cluster.lead`.
        silent_s: how long it has not heard that gateway.
        held: whether that is another gateway, which seems to have it still.
        others: the nodes of its processes besides the first, each with what it has there.
        group: the cluster's own name for the room of several; empty where there is one.
    """

    name: str
    workload: str
    deployment: str
    digest: str
    node: str
    address: Address
    pid: int
    needs: Resources
    zones: frozenset[str] | None
    work_class: WorkClass
    project: str | None
    owner: str
    epoch: int
    silent_s: float
    held: bool = False
    others: tuple[tuple[str, Resources], ...] = ()
    group: str = ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes of all its processes, in their order."""
        return (self.node, *(node for node, _ in self.others))

    @property
    def members(self) -> tuple[Resources, ...]:
        """What each of them has."""
        return (self.needs, *(needs for _, needs in self.others))


class JobPhase(StrEnum):
    """How far a job is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class JobOrder:
    """A job to be run: a module of Freehold that says lines of JSON, with all its processes at once.

    Each process finds in its environment which one it is, under torchrun's names: `RANK`, `LOCAL_RANK`, `WORLD_SIZE`,
    `LOCAL_WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`. When one ends badly, so do the others.

    Args:
        id: names it; submitting the same again while it runs is an error.
        module: what is run, as by `python -m`.
        arguments: of the module.
        members: what each of its processes needs; they are placed at once or not at all.
        zones: where it may run; None for anywhere.
        folder: its checkpoints and its log, reachable from every node under the same path.
        python: the interpreter, on every node.
        env: what the processes' environment has besides their node's own.
        nodes: the ids of the nodes that were chosen for the members, in their order; empty where the cluster is to
            choose.
    """

    id: str
    module: str
    arguments: tuple[str, ...]
    members: tuple[Resources, ...]
    zones: frozenset[str] | None
    folder: Path
    python: str
    env: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job is; `detail` says in words why it failed or what it waits for."""

    phase: JobPhase
    detail: str = ""


def ignore(text: str) -> None:
    """Take a report that nobody wants."""


class Cluster(ABC):
    """Machines that run engines and jobs. Used on one event loop.

    Jobs end with the gateway that submitted them; whoever wants them goes on from their checkpoints. A job that has
    ended is remembered until the same id is submitted again, or the cluster is left.
    """

    @abstractmethod
    async def nodes(self) -> list[Node]:
        """The nodes, lost ones for a while too."""

    @abstractmethod
    async def place(
        self, placement: Placement, on_line: Callable[[str], None], report: Callable[[str], None] = ignore
    ) -> Placed:
        """Start an engine where there is room; what it writes comes line by line to `on_line`.

        `report` is told how far its node is with what it must have first, such as "copying the weights 35 %".

        Raises:
            NoRoom: no node has what it needs now; says what is lacking, or that no permitted zone has it.
            ConfigError: it can never be placed, such as on a machine of no cluster for a zone.
            EngineFailed: the node could not start it, such as for want of a file.
            OSError: the system cannot start a process.
        """

    async def hosted(self) -> list[HostedRecord]:
        """The engines of this home that run and are not in this gateway's hands; none where they end with it.

        An earlier run has left them, or another gateway of the home has them. Nodes that do not answer are left out.
        """
        return []

    async def attach(
        self,
        record: HostedRecord,
        on_line: Callable[[str], None],  # noqa: ARG002  # where nothing is hosted
        report: Callable[[str], None] = ignore,  # noqa: ARG002
    ) -> Placed:
        """Take an engine that runs into this gateway's hands; whoever had it before has it no more, and is told so.

        Args:
            record: as `hosted` told it; known by its `workload` from now on.
            on_line: as of `place`.
            report: as of `place`.

        Raises:
            NotFound: it has ended.
            Conflict: a gateway has it in the name of a later epoch.
        """
        raise NotFound(f"The engine of '{record.workload}' has ended.")

    async def dismiss(self, record: HostedRecord) -> None:  # noqa: B027  # where nothing is hosted
        """End an engine that runs and that nobody wants; that it has ended already is as good.

        Raises:
            Conflict: as of `attach`.
        """

    @property
    def identity(self) -> str | None:
        """The name that the cluster has by itself, however its address is spelled; None until it was joined."""
        return "local"

    @property
    def reachable(self) -> bool:
        """Whether there is a way to it just now."""
        return True

    async def lead(self, epoch: int) -> None:  # noqa: B027  # where nothing is hosted
        """Place and attach in the name of that epoch from now on, and have what is in hands in its name too.

        0, the first, where nobody counts them. Of several gateways of a home one decides at a time, and each one that
        begins to counts the epoch on. What is in the name of an epoch obeys no gateway of an earlier one.

        Raises:
            Unavailable: the cluster cannot be reached.
        """

    async def let_go(self) -> None:  # noqa: B027  # where nothing is hosted
        """Have no engine in these hands any more, for another gateway of the home decides; each of them goes on."""

    def hand_over(self) -> None:  # noqa: B027  # where nothing is hosted
        """Let what was placed from here go on from now on when it is told to end here, for another gateway of the home.

        Nobody hears of it here any more. Where nothing outlives the gateway, it ends as ever.
        """

    @abstractmethod
    async def submit(self, job: JobOrder) -> None:
        """Start a job.

        Raises:
            NoRoom: not all of its processes can be placed now.
            Conflict: a job of that id runs.
        """

    @abstractmethod
    async def status(self, job_id: str) -> JobStatus:
        """How a job is.

        Raises:
            NotFound: no job of that id was submitted from here.
        """

    @abstractmethod
    def logs(self, job_id: str) -> AsyncIterator[str]:
        """What a job's first process has said on standard output and says, line by line, until the job ends.

        What its processes complain of on standard error is in `folder/complaints.txt`.

        Raises:
            NotFound: as `status`.
        """

    @abstractmethod
    async def cancel(self, job_id: str, grace_s: float) -> None:
        """Have a job end: asked first (SIGTERM, on which a training writes a checkpoint), killed after `grace_s`.

        Returns when it has ended, at once where it had.

        Raises:
            NotFound: as `status`.
        """

    @abstractmethod
    async def drain(self, node_id: str) -> None:
        """Place nothing more on a node; what runs there goes on until whoever placed it moves it.

        Raises:
            NotFound: there is no such node.
            ConfigError: it is the only one there can be.
        """

    @abstractmethod
    async def resume(self, node_id: str) -> None:
        """Place on a node again that drained.

        Raises:
            NotFound: there is no such node.
        """

    @abstractmethod
    def on_change(self, listener: Callable[[], None]) -> None:
        """Tell `listener` soon after a node has come, drains, or is lost."""

    @abstractmethod
    async def close(self) -> None:
        """Leave the cluster; what was placed from here ends, unless it was handed over."""
