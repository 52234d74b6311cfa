"""One run of the process that trains: what it says becomes rows, events and progress of its job.

A job may take several runs, each from the newest checkpoint of the one before: after a pause, a crash, a restart.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import structlog

from freehold.cluster.desk import Had
from freehold.errors import JobProcessFailed, LeaseLost, QuotaExceeded, RateLimited, RequestError, Unavailable
from freehold.gateway.tuned_models import Result
from freehold.gateway.tuning_base import Base
from freehold.gateway.tuning_messages import MOST_TOLD, count_of, error_of, numbers_of, versions_of
from freehold.gateway.tuning_process import Process
from freehold.gateway.tuning_store import Tuning, TuningStore
from freehold.gateway.tuning_stretch import TuningStretch
from freehold.jobs.workers import Hold
from freehold.store.fine_tuning import CheckpointRow
from freehold.types.fine_tuning import TuningError, TuningStatus, model_name
from freehold.types.ids import new_id

log = structlog.get_logger(__name__)

FINISHED: Final = 0
FAILED: Final = 2
STOPPED: Final = 3
GRADE_TRIES: Final = 10
"""How often answers are graded whose grader cannot be asked for the moment."""
MAX_PAUSE_S: Final = 30.0
Rewards: TypeAlias = tuple[list[float | None], list[str]]
Kept: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any], Result | None], Awaitable[None]]
"""Is told what the process said of a checkpoint and of itself, and of the model that was made of the checkpoint."""


class Meter(Protocol):
    """What the trained tokens of one run are counted and charged on."""

    async def end(self, tokens: int, outcome: Literal["finished", "cancelled", "failed"]) -> None:
        """Charge these tokens, unless it failed; exactly once."""


class Caller(Protocol):
    """Whoever made a job, as it would be let in now."""

    def check(self, tuning: Tuning) -> None:
        """Return if it may still have models trained.

        Raises:
            RequestError: it may not.
        """

    async def begin(self, tuning: Tuning, base: Base, tokens: int) -> Meter:
        """Reserve what so many trained tokens cost.

        Raises:
            QuotaExceeded: there is no budget for it.
            RequestError: as `check`.
            AuditUnavailable: nothing can be recorded.
        """

    async def grade(self, tuning: Tuning, samples: Sequence[Mapping[str, Any]]) -> Rewards:
        """The grades of answers, and what was wrong with those that have none.

        Raises:
            RateLimited, Unavailable: the grader cannot be asked now.
            RequestError: as `check`.
        """


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Args:
        how: whether the training is done, failed by its input, was stopped as asked, gave its room back, or broke off.
        error: what is wrong with the input, or with the caller.
        result: what was made, if the training is done.
        tokens: that the job has trained, in all its runs.
        status: the exit status of the process.
        complaint: the end of what it wrote to its log; not for callers, it may quote their examples.
        facts: what the process said of itself: versions, resolved numbers.
        code: of the error, where it could not even be started.
    """

    how: Literal["finished", "failed", "stopped", "preempted", "crashed"]
    error: TuningError | None
    result: Result | None
    tokens: int
    status: int
    complaint: str
    facts: Mapping[str, Any]
    code: str | None = None

    @property
    def counts(self) -> bool:
        """Whether what was trained is in its result or in a checkpoint, and is charged."""
        return self.how == "finished" or (self.how in {"stopped", "preempted"} and self.status == STOPPED)


class Run:
    """Runs the process for one job.

    Args:
        store: where the job lies.
        hold: the job in the queue.
        tuning: the job.
        base: what it starts from.
        folder: with its task.
        process: what is run, not started yet.
        caller: whoever made it.
        kept: is told of each checkpoint.
        had: the room that it has.
        stretch: puts it to account.
    """

    def __init__(
        self,
        store: TuningStore,
        hold: Hold,
        tuning: Tuning,
        base: Base,
        folder: Path,
        process: Process,
        caller: Caller,
        kept: Kept,
        had: Had,
        stretch: TuningStretch,
    ) -> None:
        self._store = store
        self._hold = hold
        self._tuning = tuning
        self._base = base
        self._folder = folder
        self._process = process
        self._caller = caller
        self._kept = kept
        self._had = had
        self._stretch = stretch
        self._killed = False
        self._tokens = tuning.row.tokens
        self._steps = tuning.row.steps
        self._facts: Mapping[str, Any] = {}
        self._meter: Meter | None = None
        self._result: Result | None = None
        self._error: TuningError | None = None
        self._started_s = time.monotonic()
        self._first_step = 0
        self._told = 0

    async def __call__(self) -> Ended:
        """Run the process to its end.

        Raises:
            LeaseLost: somebody else has the job.
            JobProcessFailed: it cannot be started.
            NoRoom, Unavailable: it cannot be started on its node now.
            HomeError, AuditUnavailable, ContentUnreadable, KeyServiceUnavailable: what it does cannot be written.
        """
        how: Literal["finished", "cancelled", "failed"] = "failed"
        try:
            async with self._process as process:
                asking = asyncio.create_task(self._ask(process), name=f"asking {self._tuning.id}")
                try:
                    async for message in process.messages():
                        await self._heard(process, message)
                    status = await process.wait()
                finally:
                    asking.cancel()
                ended = self._ended(status, process.complaint)
            how = "finished" if ended.how == "finished" else "cancelled" if ended.counts else "failed"
            return ended
        finally:
            if self._meter is not None:
                await self._meter.end(max(0, self._tokens - self._tuning.row.charged_tokens), how)

    def _ended(self, status: int, complaint: str) -> Ended:
        """How the run ended, by the status of the process and by what it said."""
        how: Literal["finished", "failed", "stopped", "preempted", "crashed"] = "crashed"
        if status == FINISHED and self._result is not None:
            how = "finished"
        elif self._error is not None or status == FAILED:
            how = "failed"
        elif status == STOPPED or self._killed:
            wanted = self._hold.stopping.is_set() or self._hold.pausing.is_set()
            how = "preempted" if self._had.wanted_back.done() and not wanted else "stopped"
        return Ended(how, self._error, self._result, self._tokens, status, complaint, self._facts)

    async def _ask(self, process: Process) -> None:
        """Tell the process when it is to stop; kill it where its room is wanted back, and its time is over."""
        hold, back = self._hold, self._had.wanted_back
        stop, pause = (asyncio.create_task(each.wait()) for each in (hold.stopping, hold.pausing))
        try:
            while not back.done():
                left = {each for each in (stop, pause, back) if not each.done()}
                await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                await process.tell({"type": "cancel" if stop.done() else "pause"})
            if not await process.ended(within_s=back.result()):
                self._killed = True
                process.kill()
        finally:
            stop.cancel()
            pause.cancel()

    async def _heard(self, process: Process, message: Mapping[str, Any]) -> None:
        """Do what a message of the process asks for.

        Raises:
            JobProcessFailed: it is none that the process may send.
        """
        try:
            match message.get("type"):
                case "started":
                    await self._on_start(message)
                case "metrics":
                    await self._on_metrics(message)
                case "checkpoint":
                    await self._on_checkpoint(message)
                case "event":
                    await self._on_event(message)
                case "grade":
                    rewards, problems = await self._graded(message["samples"])
                    told = {"type": "grades", "id": message["id"], "rewards": rewards, "problems": problems}
                    await process.tell(told)
                case "finished":
                    self._tokens = max(self._tokens, count_of(message.get("trained_tokens") or 0))
                    self._result = self._file(message, f"job://{self._tuning.id}", step=None)
                    self._stretch.kept(self._steps)
                case "failed":
                    self._error = error_of(message)
                case other:
                    raise JobProcessFailed(f"The training process said '{str(other)[:32]}', which nobody knows.")
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as exc:
            raise JobProcessFailed("The training process said something that is not as it must be.") from exc
        except RequestError as exc:  # the caller may do this no more
            if isinstance(exc, LeaseLost) or (isinstance(exc, RateLimited) and not isinstance(exc, QuotaExceeded)):
                raise  # somebody else has the job, or the caller may again in a moment
            if self._error is None:
                self._error = TuningError(exc.code or "forbidden", exc.message)
            await process.tell({"type": "cancel"})

    async def _on_start(self, message: Mapping[str, Any]) -> None:
        self._steps, self._first_step = count_of(message["total_steps"]), count_of(message.get("resumed_from") or 0)
        self._started_s = time.monotonic()
        resolved = numbers_of(message.get("hyperparameters") or {})
        self._facts = {"hyperparameters": resolved, "versions": versions_of(message.get("versions") or {})}
        expected = count_of(message["trained_tokens"]) - self._tuning.row.charged_tokens
        if message.get("device") == "cuda":
            self._stretch.on_device()
        self._meter = await self._caller.begin(self._tuning, self._base, max(0, expected))
        said = f"Training goes on from step {self._first_step}." if self._first_step else "Fine-tuning job started"
        await self._store.change(
            self._hold.lease,
            self._tuning,
            await self._store.event(self._tuning.row, said),
            status=TuningStatus.RUNNING,
            steps=self._steps,
            step=self._first_step,
            resolved=resolved,
        )

    async def _on_event(self, message: Mapping[str, Any]) -> None:
        level: Literal["info", "warn"] = "warn" if message.get("level") == "warn" else "info"
        self._told += 1
        if self._told > MOST_TOLD:
            raise JobProcessFailed(f"The training process told more than {MOST_TOLD} events.")
        event = await self._store.event(self._tuning.row, str(message["message"])[:MOST_TOLD], level)
        await self._store.change(self._hold.lease, self._tuning, event)

    async def _on_metrics(self, message: Mapping[str, Any]) -> None:
        self._caller.check(self._tuning)
        step, total = count_of(message["step"]), count_of(message.get("total") or self._steps)
        numbers = numbers_of(message)
        self._tokens = max(self._tokens, count_of(numbers.get("tokens", 0)))
        loss = numbers.get("train_loss")
        said = f"Step {step}/{total}" + (f": training loss={loss:.2f}" if loss is not None else "")
        data = {"step": step, "total_steps": total, **numbers}
        await self._store.change(
            self._hold.lease,
            self._tuning,
            await self._store.event(self._tuning.row, said, data=data),
            step=step,
            steps=total,
            tokens=self._tokens,
            estimated_finish=self._estimate(step, total),
        )

    def _estimate(self, step: int, total: int) -> int | None:
        """When the training will have come to its end at the pace so far, in seconds since the epoch."""
        done = step - self._first_step
        if done <= 0:
            return None
        left_s = (time.monotonic() - self._started_s) / done * max(0, total - step)
        return self._store.now_s() + math.ceil(left_s)

    async def _on_checkpoint(self, message: Mapping[str, Any]) -> None:
        step, row = count_of(message["step"]), self._tuning.row
        result = None
        if message.get("file"):
            result = self._file(message, f"job://{row.id}/step-{step}", step=step)
        sha256 = str(message["sha256"])
        metrics = numbers_of(message.get("metrics") or {})
        await self._kept(message, self._facts, result)
        name = "" if result is None else result.name
        checkpoint = CheckpointRow(new_id("ftckpt_"), step, sha256, name, metrics, self._store.now_s())
        await self._store.checkpoint(self._hold.lease, self._tuning, checkpoint)
        self._stretch.kept(step)
        said = await self._store.event(row, f"Checkpoint created at step {step}")
        await self._store.change(self._hold.lease, self._tuning, said)

    def _file(self, message: Mapping[str, Any], source: str, *, step: int | None) -> Result:
        """A file that the process has made; it lies in the job's folder, whatever the message says."""
        file = (self._folder / str(message["file"])).resolve()
        if not file.is_relative_to(self._folder.resolve()) or not file.is_file():
            raise JobProcessFailed("The training process named a file that is not in its job's folder.")
        row = self._tuning.row
        name = model_name(row.model, row.project_id, self._tuning.header["suffix"], row.id, step=step)
        sha256 = str(message["sha256"]) if step is None else ""  # a checkpoint's digest is that of its folder
        return Result(file, name, source, sha256)

    async def _graded(self, samples: Sequence[Mapping[str, Any]]) -> Rewards:
        """The grades of answers; none where the grader cannot be asked for long, or the job is to stop."""
        for attempt in range(GRADE_TRIES):
            try:
                return await self._caller.grade(self._tuning, samples)
            except (RateLimited, Unavailable) as exc:
                wait_s = min(MAX_PAUSE_S, max(exc.retry_after_s or 0.0, 2.0**attempt))
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._hold.asked()
                    break
        return [None] * len(samples), ["the grader cannot be asked"]
