"""Fine-tuning jobs: made, looked at, listed, paused and cancelled; `freehold.gateway.tuning_work` works on them.

What a person makes is that person's alone, what a service account makes belongs to its project. The model that comes of
either is the project's.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from freehold.errors import Conflict, InvalidRequest, NotFound
from freehold.gateway.files import Files
from freehold.gateway.grading import check_grader
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.tuned_models import TunedModels
from freehold.gateway.tuning_base import Access, Base, Bases
from freehold.gateway.tuning_python import Trainer
from freehold.gateway.tuning_store import Tuning, TuningStore
from freehold.governance.authorization import require
from freehold.jobs.queue import JobQueue
from freehold.store.fine_tuning import (
    CheckpointRow,
    TuningRow,
    add_tuning,
    cancel_tuning,
    get_tuning,
    list_checkpoints,
    list_tunings,
    set_status,
)
from freehold.store.kept_items import Reader
from freehold.types.content import FINE_TUNING, tenant_of
from freehold.types.files import Purpose
from freehold.types.fine_tuning import (
    FINE_TUNING_JOB,
    TUNING_ENDED,
    FineTuningSettings,
    TuningEvent,
    TuningRequest,
    TuningStatus,
)
from freehold.types.graders import AnyGrader, LabelModel, RefusedGrader
from freehold.types.identity import Action, MemberKind, Principal
from freehold.types.ids import new_id
from freehold.types.jobs import JobState

RESOURCE: Final = "fine_tuning/jobs"
_PAGE: Final = 100
_WAITING: Final = (TuningStatus.VALIDATING, TuningStatus.QUEUED, TuningStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class TuningParts:
    """What jobs are made with.

    Args:
        store: where they lie.
        files: the files of projects.
        queue: what has them worked on.
        bases: what can be trained.
        models: what comes of them.
        trainer: what trains.
        changes: records what becomes of jobs.
        settings: how much may be trained.
    """

    store: TuningStore
    files: Files
    queue: JobQueue
    bases: Bases
    models: TunedModels
    trainer: Trainer
    changes: TrainingChanges
    settings: FineTuningSettings


class FineTuning:
    """The fine-tuning jobs of one home.

    Every method may raise ContentUnreadable, ProjectKeyRevoked or KeyServiceUnavailable where content cannot be
    encrypted or decrypted, and HomeError where the database cannot be used.

    Args:
        parts: what they are made with.
    """

    def __init__(self, parts: TuningParts) -> None:
        self.parts = parts
        self.store = parts.store
        self.models = parts.models
        self._queue = parts.queue
        self._listeners: list[Callable[[str], None]] = []

    def on_created(self, listener: Callable[[str], None]) -> None:
        """Have something told the id of each job that is made."""
        self._listeners.append(listener)

    async def create(self, principal: Principal, request: TuningRequest, dialect: str, access: Access) -> Tuning:
        """Have a model trained.

        Args:
            principal: who asks.
            request: what is asked.
            dialect: in which it is asked.
            access: what models there are for the caller.

        Raises:
            Forbidden: the caller may not.
            NotFound: there is no such file, or no such model.
            InvalidRequest: a file or a model cannot be used for it.
            TrainingUnavailable: this server cannot train.
            ZeroRetention: nothing is kept for the project.
        """
        for action in (Action.INFER, Action.READ_FILES, Action.WRITE_FILES):
            require(principal, action, RESOURCE)
        tenant, store = tenant_of(principal), self.store
        store.retention.check_keeping(tenant.organization_id, tenant.project_id, "training_file")
        await self._check_file(principal, request.training_file, "training_file")
        if request.validation_file is not None:
            await self._check_file(principal, request.validation_file, "validation_file")
        how = request.how
        if how.grader is not None:
            _check_grader(how.grader)
        base = await self.parts.bases.find(access, principal, request.model)
        await self.parts.trainer.check()
        self.parts.changes.check()
        tuning_id = new_id("ftjob-")
        job = self._queue.new(
            FINE_TUNING_JOB,
            {"tuning": tuning_id},
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            owner_id=tenant.owner_id,
            subject=tuning_id,
            private=principal.kind is MemberKind.USER,
        )
        header = {
            "metadata": request.metadata,
            "suffix": request.suffix,
            "method": how.model_dump(mode="json", by_alias=True, exclude_none=True),
            "base": {"name": base.name, "settings": base.settings.wire()},
        }
        sealed = await store.seal(tenant, tuning_id, "header", header)
        row = self._begun(principal, request, base, (tuning_id, job.id, dialect, sealed))
        async with self._queue.room(job):
            await add_tuning(store.database, row, job)
            await store.note(row, f"Created fine-tuning job: {tuning_id}")
        await self.parts.changes.job(row, "created", principal)
        for listener in self._listeners:
            listener(tuning_id)
        return Tuning(row, header)

    def _begun(
        self, principal: Principal, request: TuningRequest, base: Base, parts: tuple[str, str, str, bytes]
    ) -> TuningRow:
        """The row of a new job."""
        tuning_id, job_id, dialect, header = parts
        now, keep_s = self.store.now_s(), self.store.retention.keep_s
        return TuningRow(
            id=tuning_id,
            organization_id=principal.organization_id,
            project_id=principal.project_id,
            owner_id=principal.id,
            private=principal.kind is MemberKind.USER,
            job_id=job_id,
            key_id=principal.key_id,
            auth_method=principal.auth_method,
            dialect=dialect,
            model=base.name,
            method=request.how.type,
            seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
            export=request.export or self.parts.settings.export,
            training_file=request.training_file,
            validation_file=request.validation_file or "",
            status=TuningStatus.VALIDATING,
            header=header,
            created_at=now,
            expires_at=now + keep_s(principal.organization_id, principal.project_id, FINE_TUNING),
        )

    async def _check_file(self, principal: Principal, file_id: str, param: str) -> None:
        """Return if a file can be one of examples.

        Raises:
            NotFound: there is none.
            InvalidRequest: it was uploaded for something else, or is too long.
        """
        try:
            file = await self.parts.files.get(principal, file_id)
        except NotFound as exc:
            raise NotFound(exc.message, param=param) from exc
        if file.purpose is not Purpose.FINE_TUNE:
            raise InvalidRequest(
                f"The file was uploaded for '{file.purpose.value}'; a job needs one whose purpose is 'fine-tune'.",
                param=param,
                code="invalid_file_purpose",
            )
        most = self.parts.settings.max_training_bytes
        if file.size > most:
            raise InvalidRequest(
                f"The file has {file.size} bytes; one of examples has at most {most}.",
                param=param,
                code="file_too_large",
            )

    async def get(self, principal: Principal, tuning_id: str) -> Tuning:
        """A job that the caller may see.

        Raises:
            NotFound: there is none of that id.
            Forbidden: the caller may not read.
        """
        require(principal, Action.READ_FILES, f"{RESOURCE}/{tuning_id[:64]}")
        return await self.store.opened(await self._row(principal, tuning_id))

    async def list(
        self, principal: Principal, *, after: str | None, limit: int, metadata: Mapping[str, str] | None = None
    ) -> tuple[list[Tuning], bool]:
        """The jobs that the caller may see, the newest first, and whether there are more of them.

        Args:
            principal: who asks.
            after: the last job that the caller has seen.
            limit: how many at most.
            metadata: only jobs that have these pairs.

        Raises:
            Forbidden: the caller may not read.
        """
        require(principal, Action.READ_FILES, RESOURCE)
        found: list[Tuning] = []
        reader, wanted = self._reader(principal), (metadata or {}).items()
        while len(found) <= limit:
            rows = await list_tunings(self.store.database, reader, after=after, limit=_PAGE)
            opened = [await self.store.opened(row) for row in rows]
            found += [each for each in opened if wanted <= (each.header["metadata"] or {}).items()]
            if len(rows) < _PAGE:
                break
            after = rows[-1].id
        return found[:limit], len(found) > limit

    async def events(
        self, principal: Principal, tuning_id: str, *, after: str | None, limit: int
    ) -> tuple[Sequence[TuningEvent], bool]:
        """The events of a job, the newest first, and whether there are more. Raises: as `get`."""
        tuning = await self.get(principal, tuning_id)
        found = await self.store.events(tuning.row, after=after, limit=limit + 1)
        return found[:limit], len(found) > limit

    async def checkpoints(
        self, principal: Principal, tuning_id: str, *, after: str | None, limit: int
    ) -> tuple[Sequence[CheckpointRow], bool]:
        """The checkpoints of a job, the newest first, and whether there are more. Raises: as `get`."""
        tuning = await self.get(principal, tuning_id)
        found = await list_checkpoints(self.store.database, tuning.id, after=after, limit=limit + 1)
        return found[:limit], len(found) > limit

    async def cancel(self, principal: Principal, tuning_id: str) -> Tuning:
        """Have a job end, and what it looks like then.

        Raises:
            NotFound: there is none of that id.
            Conflict: it has ended otherwise.
            Forbidden: the caller may not.
        """
        row = await self._changeable(principal, tuning_id, "cancel", TuningStatus.CANCELLED)
        if row.status != TuningStatus.CANCELLED:
            await cancel_tuning(self.store.database, row, self.store.now_s())
            await self.store.note(row, "The job was cancelled.")
            await self.parts.changes.job(row, "cancelled", principal)
            self._queue.announce()
        return await self.get(principal, tuning_id)

    async def pause(self, principal: Principal, tuning_id: str) -> Tuning:
        """Have a job stop at its next step, until it is resumed. Raises: as `cancel`."""
        row = await self._changeable(principal, tuning_id, "pause")
        if await self._queue.pause(row.job_id) is JobState.PAUSED:
            await set_status(self.store.database, row.id, TuningStatus.PAUSED, *_WAITING)
        if row.status != TuningStatus.PAUSED:
            await self.store.note(row, "The job is being paused.")
            await self.parts.changes.job(row, "paused", principal)
        return await self.get(principal, tuning_id)

    async def resume(self, principal: Principal, tuning_id: str) -> Tuning:
        """Have a job go on that was paused. Raises: as `cancel`."""
        row = await self._changeable(principal, tuning_id, "resume")
        await self._queue.resume(row.job_id)
        await set_status(self.store.database, row.id, TuningStatus.QUEUED, TuningStatus.PAUSED)
        if row.status == TuningStatus.PAUSED:
            await self.store.note(row, "The job is resumed.")
            await self.parts.changes.job(row, "resumed", principal)
        return await self.get(principal, tuning_id)

    async def _changeable(self, principal: Principal, tuning_id: str, what: str, *also: TuningStatus) -> TuningRow:
        """The row of a job that has not ended, or is in one of the states `also`."""
        require(principal, Action.WRITE_FILES, f"{RESOURCE}/{tuning_id[:64]}")
        row = await self._row(principal, tuning_id)
        if row.status in TUNING_ENDED and row.status not in also:
            raise Conflict(f"Cannot {what} a fine-tuning job with status '{row.status}'.")
        self.parts.changes.check()
        return row

    async def _row(self, principal: Principal, tuning_id: str) -> TuningRow:
        row = await get_tuning(self.store.database, self._reader(principal), tuning_id)
        if row is None:
            raise NotFound(f"Could not find fine tune: {tuning_id[:64]}", param="fine_tuning_job_id")
        return row

    def _reader(self, principal: Principal) -> Reader:
        return Reader(principal.organization_id, principal.project_id, principal.id, self.store.clock())


def _check_grader(grader: AnyGrader | RefusedGrader) -> None:
    """Return if a grader can be that of a job.

    Raises:
        InvalidRequest: names the field.
    """
    param = "method.reinforcement.grader"
    if isinstance(grader, LabelModel):
        raise InvalidRequest(
            "A 'label_model' gives no score by itself; put it into a 'multi' grader.", param=f"{param}.type"
        )
    check_grader(grader, param)
