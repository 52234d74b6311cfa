"""The work on a run: its items are looked at, each is asked and graded, and what became of it is written.

An item counts once its result is on the disk. So whoever takes the job after a crash goes on where it stopped: items
that are done are not asked again.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from freehold.errors import (
    LeaseLost,
    NotFound,
    ProjectKeyRevoked,
    Unauthenticated,
)
from freehold.gateway.asking import Asker
from freehold.gateway.batch_work import Stop
from freehold.gateway.evaluation_asking import Patience, PatientRequests, Stopped
from freehold.gateway.evaluation_item import ItemWork
from freehold.gateway.evaluation_sources import SourceItem, SourceProblem, Sources, checked
from freehold.gateway.evaluation_store import Evaluation, EvaluationStore, Run
from freehold.gateway.sealed_rows import WrittenTogether
from freehold.jobs.workers import Hold
from freehold.types.evaluations import RUN_ENDED, EvaluationsSettings, ItemResult, RunStatus
from freehold.types.jobs import JobState

AT_ONCE: Final = 16
"""Items of one run that are worked on at a time, whatever room their deployments have."""
_JOBS: Final = {RunStatus.FAILED: JobState.FAILED, RunStatus.CANCELED: JobState.CANCELLED}


@dataclass(frozen=True, slots=True)
class WorkParts:
    """What the work on runs needs.

    Args:
        store: where they lie.
        sources: gives them their items.
        patience: asks models, again and again where that helps.
        asker: on whose behalf those of a run are asked.
        settings: what graders ask beside the models that their callers name.
        ended: told of every run that has come to its end, before its job is over.
    """

    store: EvaluationStore
    sources: Sources
    patience: Patience
    asker: Callable[[Run], Asker]
    settings: EvaluationsSettings
    ended: Callable[[Evaluation, Run], Awaitable[None]]


class EvaluationWork:
    """Does the jobs of runs.

    Args:
        parts: what it needs.
        clock: seconds since the epoch.
    """

    def __init__(self, parts: WorkParts, *, clock: Callable[[], float] = time.time) -> None:
        self._parts = parts
        self._store = parts.store
        self._clock = clock

    async def __call__(self, hold: Hold) -> JobState:
        """Do all that there is left to do of a run, and say how its job ended.

        Raises:
            LeaseLost: somebody else has the job, or the run is gone.
            FreeholdError: it cannot be done now.
        """
        found = await self._store.load(hold.job.payload["eval_run"])
        if found is None:
            return JobState.CANCELLED
        evaluation, run = found
        if run.row.status in RUN_ENDED:
            return _JOBS.get(RunStatus(run.row.status), JobState.SUCCEEDED)
        stop = Stop(hold, sys.maxsize, self._clock)
        status, problem = RunStatus.COMPLETED, None
        try:
            if run.row.started_at is None and stop.reason is None:
                evaluation, run = await self._begun(hold, evaluation, run)
            await self._run(hold, evaluation, run, stop)
        except (SourceProblem, NotFound, Unauthenticated, ProjectKeyRevoked) as exc:
            status, problem = RunStatus.FAILED, {"code": exc.code or "invalid_value", "message": exc.message}
        if stop.reason is not None:
            status, problem = RunStatus.CANCELED, None
        elif problem is None and stop.paused and await self._is_short(run):
            return JobState.PAUSED
        return await self._finish(hold, run, status, problem)

    async def _begun(self, hold: Hold, evaluation: Evaluation, run: Run) -> tuple[Evaluation, Run]:
        """Look at the items, and note how many there are and which."""
        principal = self._parts.asker(run).principal()
        plan = await self._parts.sources.planned(principal, run)
        columns: dict[str, Any] = {"total": len(plan)}
        if plan:
            columns["plan"] = await self._store.sealed_part(run, "plan", list(plan))
        else:
            columns["total"] = await checked(self._parts.sources, principal, evaluation, run)
        await self._store.change(
            hold.lease, run, status=RunStatus.IN_PROGRESS, started_at=self._store.now_s(), **columns
        )
        found = await self._store.load(run.id)
        if found is None:
            raise LeaseLost(f"The run '{run.id}' is gone.")
        return found

    async def _run(self, hold: Hold, evaluation: Evaluation, run: Run, stop: Stop) -> None:
        """Work on the items that are not done, some at a time."""
        if not stop.goes_on:
            return
        done = await self._store.finished(run)
        asker = self._parts.asker(run)
        requests = PatientRequests(self._parts.patience, stop)
        work = ItemWork(evaluation, run, asker, requests, self._parts.settings)
        written = WrittenTogether[ItemResult](partial(self._store.put, hold.lease, run))
        places = asyncio.Semaphore(AT_ONCE)

        async def one(item: SourceItem) -> None:
            with suppress(Stopped):
                if await written.put(await work.result(item)):
                    stop.cancel()

        items = self._parts.sources.items(asker.principal(), run, skip=done)
        try:
            async with asyncio.TaskGroup() as group, aclosing(items):
                async for item in items:
                    await places.acquire()
                    if not stop.goes_on:
                        break
                    group.create_task(one(item)).add_done_callback(lambda _: places.release())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _is_short(self, run: Run) -> bool:
        """Whether there are items without a result."""
        found = await self._store.load(run.id)
        if found is None:
            raise LeaseLost(f"The run '{run.id}' is gone.")
        row = found[1].row
        return row.passed + row.failed + row.errored < row.total or row.started_at is None

    async def _finish(self, hold: Hold, run: Run, status: RunStatus, problem: Mapping[str, str] | None) -> JobState:
        """Write how the run ended."""
        columns: dict[str, Any] = {"status": status, "ended_at": self._store.now_s()}
        if problem is not None:
            columns["problem"] = await self._store.sealed_part(run, "problem", dict(problem))
        found = await self._store.load(run.id)
        if status is RunStatus.COMPLETED and found is not None:
            await self._parts.ended(*found)
        await self._store.change(hold.lease, run, **columns)
        return _JOBS.get(status, JobState.SUCCEEDED)
