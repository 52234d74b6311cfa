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

from freehold.types.cluster import Node, Resources


class Hosted(Protocol):
    """A running engine process, wherever it is; `freehold.serving.process.EngineProcess` is the one of this machine.

    Attributes:
        pid: on its own machine, for the log.
        exited: done with the exit code (negative: the signal) as soon as the process, or its node, is gone.
        tail: the last lines that it wrote.
    """

    pid: int
    exited: "asyncio.Future[int]"
    tail: "deque[str]"

    def describe_exit(self) -> str:
        """How the process ended, in words."""

    async def terminate(self, grace_s: float) -> None:
        """Ask the process to end; kill it if it has not after `grace_s`."""

    async def kill(self) -> bool:
        """Kill it at once; whether it is gone."""

    async def read_rest(self) -> None:
        """Wait, after the exit, for the last of the output."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One engine process to be started.

    Args:
        workload: names it, as the replica's id.
        argv: the program; paths of weights in it are those of this machine.
        env: what its environment has besides its node's own.
        needs: what must be free on the node.
        zones: where it may run; None for anywhere.
        files: those that the program reads, with their SHA-256 in hex; the node must have them, by its own copy.
        socket: the Unix socket on this machine by which it is to be reached.
    """

    workload: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    needs: Resources
    zones: frozenset[str] | None
    files: Mapping[Path, str]
    socket: Path


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

    Args:
        id: names it; submitting the same again is an error.
        module: what is run, as by `python -m`.
        arguments: of the module.
        members: what each of its processes needs; they are placed at once or not at all.
        zones: where it may run; None for anywhere.
        folder: its checkpoints and its log, reachable from every node under the same path.
        python: the interpreter, on every node.
    """

    id: str
    module: str
    arguments: tuple[str, ...]
    members: tuple[Resources, ...]
    zones: frozenset[str] | None
    folder: Path
    python: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job is; `detail` says in words why it failed or what it waits for."""

    phase: JobPhase
    detail: str = ""


class Cluster(ABC):
    """Machines that run engines and jobs. Used on one event loop."""

    @abstractmethod
    async def nodes(self) -> list[Node]:
        """The nodes, lost ones for a while too."""

    @abstractmethod
    async def place(self, placement: Placement, on_line: Callable[[str], None]) -> Hosted:
        """Start an engine where there is room; what it writes comes line by line to `on_line`.

        Raises:
            NoRoom: no node has what it needs now; says what is lacking, or that no permitted zone has it.
            OSError: the system cannot start a process.
        """

    @abstractmethod
    async def submit(self, job: JobOrder) -> None:
        """Start a job.

        Raises:
            NoRoom: not all of its processes can be placed now.
        """

    @abstractmethod
    async def status(self, job_id: str) -> JobStatus:
        """How a job is."""

    @abstractmethod
    def logs(self, job_id: str) -> AsyncIterator[str]:
        """What a job has said and says, line by line, until it ends."""

    @abstractmethod
    async def cancel(self, job_id: str, grace_s: float) -> None:
        """Have a job end: asked first (SIGTERM, on which a training writes a checkpoint), killed after `grace_s`."""

    @abstractmethod
    async def drain(self, node_id: str) -> None:
        """Place nothing more on a node; what runs there goes on until whoever placed it moves it."""

    @abstractmethod
    async def close(self) -> None:
        """Leave the cluster; what was placed from here ends."""
