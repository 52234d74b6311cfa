"""What the supervisor's tests share: deployments on the trial engine, a supervisor that leaves nothing behind."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from freehold.config import SupervisorSettings
from freehold.engines.auto import FastestFirst
from freehold.engines.base import EngineSpec
from freehold.serving.supervisor import Lease, Measurements, Prepare, Progress, Supervisor
from freehold.types.completions import CompletionRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Tier
from freehold.types.generation import Delta
from tests.serving.trial_engine import find_engine

PATIENCE_S = 30.0
"""How long a test waits for what must come."""

QUICK = SupervisorSettings(
    start_timeout_s=20,
    probe_interval_s=0.1,
    probe_timeout_s=3.0,
    backoff_initial_s=0.05,
    backoff_max_s=1.0,
    stop_timeout_s=3.0,
)

QUICK_FIRST: FastestFirst = {"chat": ("quick", "trial")}
"""What `engine = "auto"` stands for here."""

BOTH_LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
"""For tests that hold on asyncio's own event loop and on the one that the server uses."""


def trial(name: str = "chat", *, replicas: int = 1, model: str = "trial", **more: Any) -> DeploymentSettings:
    """A deployment on the trial engine."""
    return DeploymentSettings.model_validate(
        {"name": name, "model": model, "engine": "trial", "replicas": replicas} | more
    )


def auto(*, quick: dict[str, Any] | None = None, full: dict[str, Any] | None = None, **more: Any) -> DeploymentSettings:
    """A deployment on a quick engine without logit_bias and a full one, each with options of its own."""
    options = {"quick": {"features": ["chat", "seed"], **(quick or {})}}
    options["trial"] = {"features": ["chat", "seed", "logit_bias"], **(full or {})}
    return trial(engine="auto", options=options, **more)


async def ready_at_once(settings: DeploymentSettings, progress: Progress) -> EngineSpec:
    """Prepares an engine that needs nothing."""
    del progress
    return EngineSpec(settings)


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc").is_dir()


def pid_of(supervisor: Supervisor, name: str = "chat") -> int:
    """The process of a deployment's only replica."""
    (replica,) = supervisor.status(name).replicas
    assert replica.pid is not None
    return replica.pid


@asynccontextmanager
async def supervised(
    folder: Path,
    *deployments: DeploymentSettings,
    settings: SupervisorSettings = QUICK,
    prepare: Prepare = ready_at_once,
    drain_s: float = 10.0,
    fastest_first: FastestFirst = QUICK_FIRST,
    measurements: Measurements | None = None,
) -> AsyncIterator[Supervisor]:
    """A supervisor for the length of a block; none of the engines that it showed survives it."""
    seen: set[int] = set()
    supervisor = Supervisor(
        settings,
        folder / "run",
        prepare,
        drain_s=drain_s,
        find_engine=find_engine,
        fastest_first=fastest_first,
        measurements=measurements,
    )
    supervisor.on_state(lambda _, status: seen.add(status.pid or 0))
    try:
        for deployment in deployments:
            await supervisor.set(deployment)
        yield supervisor
    finally:
        await supervisor.stop()
        assert not [pid for pid in seen - {0} if alive(pid)]


async def answer(lease: Lease, *, after_s: float = 0.0) -> str:
    """What the trial engine says to one request: its process id, after working for that long."""
    events = lease.connection.complete(CompletionRequest(model="trial"), str(after_s))
    return "".join([event.text async for event in events if isinstance(event, Delta)])


async def ask(supervisor: Supervisor, name: str = "chat") -> str:
    """One request to a deployment."""
    async with supervisor.acquire(name) as lease:
        return await answer(lease)


async def all_ready(supervisor: Supervisor, count: int) -> None:
    """Wait until so many replicas are ready."""
    await eventually(
        lambda: sum(r.state == "ready" for r in supervisor.status("chat").replicas) == count, f"{count} replicas"
    )


def idle(supervisor: Supervisor) -> bool:
    """Whether nobody holds a lease or waits for one."""
    status = supervisor.status("chat")
    return status.waiting == 0 and not any(replica.in_flight for replica in status.replicas)


class Client:
    """A request that holds its lease until it is told to end."""

    def __init__(self, supervisor: Supervisor, tier: Tier = Tier.DEFAULT, patience_s: float = 5.0) -> None:
        self._supervisor = supervisor
        self._tier = tier
        self._patience_s = patience_s
        self._end = asyncio.Event()
        self.lease: Lease | None = None
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._supervisor.acquire("chat", tier=self._tier, patience_s=self._patience_s) as lease:
            self.lease = lease
            await self._end.wait()

    async def end(self) -> None:
        """Give the lease back."""
        self._end.set()
        await self.task
