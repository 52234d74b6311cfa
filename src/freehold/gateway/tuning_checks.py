"""Files of examples are looked through while their job waits: a bad one is told in seconds, whatever else trains.

Whoever takes the job looks at each line again as it lays the file down; so nothing is lost where a server dies before
it comes to a job here, and a job that is begun at once is left alone.
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from freehold.errors import FreeholdError
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.tuning_data import VALIDATED, Problems, look_through
from freehold.gateway.tuning_store import FileGone, Tuning, TuningStore
from freehold.store.fine_tuning import running_tunings, settle_waiting
from freehold.types.fine_tuning import FineTuningSettings, TuningError, TuningStatus

log = structlog.get_logger(__name__)


class TuningChecks:
    """Looks through the files of jobs that wait, one job at a time, while its block runs.

    Args:
        store: where they lie.
        changes: records which have failed.
        settings: how many examples there may be.
    """

    def __init__(self, store: TuningStore, changes: TrainingChanges, settings: FineTuningSettings) -> None:
        self._store = store
        self._changes = changes
        self._settings = settings
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def add(self, tuning_id: str) -> None:
        """Have the files of a job looked through."""
        self._waiting.put_nowait(tuning_id)

    async def __aenter__(self) -> Self:
        for tuning_id in sorted(await running_tunings(self._store.database, self._store.clock())):
            self.add(tuning_id)
        self._task = asyncio.create_task(self._run(), name="tuning checks")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            tuning_id = await self._waiting.get()
            try:
                await self._check(tuning_id)
            except FreeholdError as exc:  # whoever takes the job meets it again, and says so
                log.warning("tuning_not_checked", job=tuning_id, reason=exc.message)
            except Exception:  # a worker's edge: logged in full; whoever takes the job looks at its files as well
                log.exception("defect", job=tuning_id)

    async def _check(self, tuning_id: str) -> None:
        """Look through the files of one job, and say what was found, unless a worker has taken it."""
        tuning = await self._store.load(tuning_id)
        if tuning is None or tuning.row.status != TuningStatus.VALIDATING:
            return
        row, store, looked = tuning.row, self._store, list[str]()
        try:
            for name, file_id in (("training", row.training_file), ("validation", row.validation_file)):
                if file_id:
                    looked.append(f"Validating {name} file: {file_id}")
                    _, pieces = await store.input(row, file_id, f"{name}_file")
                    most = self._settings.max_examples
                    await look_through(pieces, name, row.method, most_examples=most)
        except Problems as exc:
            await self._fail(tuning, exc.error, *exc.told)
            return
        except FileGone as exc:
            await self._fail(tuning, TuningError(exc.code or "file_unavailable", exc.message, exc.param))
            return
        events = [await store.event(row, each) for each in (*looked, VALIDATED)]
        await settle_waiting(store.database, row, store.now_s(), {"status": TuningStatus.QUEUED}, *events)

    async def _fail(self, tuning: Tuning, error: TuningError, *told: str) -> None:
        """Write why a job has failed; `told` are further events."""
        row, store = tuning.row, self._store
        events = [await store.event(row, each, "error") for each in (*told, error.message)]
        values = {
            "status": TuningStatus.FAILED,
            "error": await store.sealed_error(tuning, error),
            "ended_at": store.now_s(),
        }
        if await settle_waiting(store.database, row, store.now_s(), values, *events):
            await self._changes.job(row, "failed")
