"""Batches: made, looked at, listed, cancelled and paused. What works on them is `freehold.gateway.batch_work`.

What a person makes is that person's alone, what a service account makes belongs to its project; the files of both are
files, which everybody sees who may read those of the project.
"""

from dataclasses import dataclass
from typing import Final

from freehold.errors import Conflict, InvalidRequest, NotFound
from freehold.gateway.batch_store import Batch, BatchStore
from freehold.gateway.bounds import BYTES_PER_TOKEN
from freehold.gateway.files import Files
from freehold.governance.authorization import require
from freehold.jobs.queue import JobQueue
from freehold.store.batches import BatchRow, add_batch, cancel_batch, get_batch, list_batches
from freehold.store.kept_items import Reader
from freehold.types.batches import (
    BATCH_ENDED,
    BATCH_JOB,
    MOST_BYTES,
    WINDOW_S,
    BatchesSettings,
    BatchRequest,
    BatchStatus,
)
from freehold.types.content import BATCHES, tenant_of
from freehold.types.files import Purpose, StoredFile
from freehold.types.identity import Action, MemberKind, Principal
from freehold.types.ids import new_id

RESOURCE: Final = "batches"


@dataclass(frozen=True, slots=True)
class BatchParts:
    """What a new batch is made of beside its request: its id, that of its job, the dialect, and its sealed header."""

    batch_id: str
    job_id: str
    dialect: str
    header: bytes


class Batches:
    """The batches of one home.

    Every method may raise ContentUnreadable, ProjectKeyRevoked or KeyServiceUnavailable where content cannot be
    encrypted or decrypted, and HomeError where the database cannot be used.

    Args:
        store: where they lie.
        files: the files of projects.
        queue: what has them worked on.
        settings: how much may wait.
    """

    def __init__(self, store: BatchStore, files: Files, queue: JobQueue, settings: BatchesSettings) -> None:
        self.store = store
        self.settings = settings
        self._files = files
        self._queue = queue

    async def create(self, principal: Principal, request: BatchRequest, dialect: str, origin: str) -> Batch:
        """Have the requests of a file run.

        Args:
            principal: who asks.
            request: what is asked.
            dialect: in which the answers are written.
            origin: scheme and host under which the caller reaches the server.

        Raises:
            Forbidden: the caller may not.
            NotFound: there is no such file.
            InvalidRequest: the file cannot be one of a batch, or too much waits already.
            ZeroRetention: nothing is kept for the project.
        """
        for action in (Action.INFER, Action.READ_FILES, Action.WRITE_FILES):
            require(principal, action, RESOURCE)
        tenant, store = tenant_of(principal), self.store
        store.retention.check_keeping(tenant.organization_id, tenant.project_id, "input_file_id")
        file = await self._files.get(principal, request.input_file_id)
        _check_input(file)
        ends = request.output_expires_after
        header = {
            "metadata": request.metadata,
            "output_expires_after": None if ends is None else ends.seconds,
            "origin": origin,
        }
        batch_id = new_id("batch_")
        job = self._queue.new(
            BATCH_JOB,
            {"batch": batch_id},
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            owner_id=tenant.owner_id,
            subject=batch_id,
            private=principal.kind is MemberKind.USER,
        )
        sealed = await store.seal(tenant, batch_id, "header", header)
        row = self._begun(principal, request, file, BatchParts(batch_id, job.id, dialect, sealed))
        most = self.settings.max_enqueued_tokens
        async with self._queue.room(job):
            together = await add_batch(store.database, row, job, most_tokens=most)
        if together > most:
            raise InvalidRequest(
                f"The project's batches that have not ended would come to {together} tokens together; {most} may be "
                "enqueued. Try again once some have ended, or send a smaller file.",
                param="input_file_id",
                code="token_limit_exceeded",
            )
        return Batch(row, header)

    def _begun(self, principal: Principal, request: BatchRequest, file: StoredFile, parts: BatchParts) -> BatchRow:
        """The row of a new batch."""
        now, keep_s = self.store.now_s(), self.store.retention.keep_s
        return BatchRow(
            id=parts.batch_id,
            organization_id=principal.organization_id,
            project_id=principal.project_id,
            owner_id=principal.id,
            private=principal.kind is MemberKind.USER,
            job_id=parts.job_id,
            key_id=principal.key_id,
            auth_method=principal.auth_method,
            dialect=parts.dialect,
            endpoint=request.endpoint,
            input_file_id=file.id,
            status=BatchStatus.VALIDATING,
            enqueued_tokens=-(-file.size // BYTES_PER_TOKEN),
            header=parts.header,
            ends_at=now + WINDOW_S,
            created_at=now,
            expires_at=now + keep_s(principal.organization_id, principal.project_id, BATCHES),
        )

    async def get(self, principal: Principal, batch_id: str) -> Batch:
        """A batch that the caller may see.

        Raises:
            NotFound: there is none of that id.
            Forbidden: the caller may not read.
        """
        require(principal, Action.READ_FILES, f"{RESOURCE}/{batch_id[:64]}")
        return await self.store.opened(await self._row(principal, batch_id))

    async def list(self, principal: Principal, *, after: str | None, limit: int) -> tuple[list[Batch], bool]:
        """The batches that the caller may see, the newest first, and whether there are more of them.

        Raises:
            Forbidden: the caller may not read.
        """
        require(principal, Action.READ_FILES, RESOURCE)
        rows = await list_batches(self.store.database, self._reader(principal), after=after, limit=limit + 1)
        return [await self.store.opened(row) for row in rows[:limit]], len(rows) > limit

    async def cancel(self, principal: Principal, batch_id: str) -> Batch:
        """Have a batch end soon, and what it looks like then.

        Raises:
            NotFound: there is none of that id.
            Conflict: it has ended.
            Forbidden: the caller may not.
        """
        row = await self._changeable(principal, batch_id)
        if row.status in BATCH_ENDED and row.status != BatchStatus.CANCELLED:
            raise Conflict(f"Cannot cancel a batch with status '{row.status}'.")
        await cancel_batch(self.store.database, row, self.store.now_s())
        self._queue.announce()
        return await self.get(principal, batch_id)

    async def pause(self, principal: Principal, batch_id: str) -> None:
        """Have no line of a batch begun until it is resumed, or its time is over.

        Raises:
            NotFound: there is none of that id.
            Conflict: it ends or has ended.
            Forbidden: the caller may not.
        """
        row = await self._changeable(principal, batch_id)
        if row.status not in {BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS}:
            raise Conflict(f"Cannot pause a batch with status '{row.status}'.")
        await self._queue.pause(row.job_id, row.ends_at)

    async def resume(self, principal: Principal, batch_id: str) -> None:
        """Let a batch go on that was paused.

        Raises:
            NotFound: there is none of that id.
            Conflict: it is not paused.
            Forbidden: the caller may not.
        """
        row = await self._changeable(principal, batch_id)
        await self._queue.resume(row.job_id)

    async def _changeable(self, principal: Principal, batch_id: str) -> BatchRow:
        """A batch that the caller may change."""
        require(principal, Action.WRITE_FILES, f"{RESOURCE}/{batch_id[:64]}")
        return await self._row(principal, batch_id)

    async def _row(self, principal: Principal, batch_id: str) -> BatchRow:
        row = await get_batch(self.store.database, self._reader(principal), batch_id)
        if row is None:
            raise NotFound(f"No batch found with id '{batch_id[:64]}'.", param="batch_id")
        return row

    def _reader(self, principal: Principal) -> Reader:
        return Reader(principal.organization_id, principal.project_id, principal.id, self.store.clock())


def _check_input(file: StoredFile) -> None:
    """Return if a file can be the input of a batch.

    Raises:
        InvalidRequest: it was uploaded for something else, or is too long.
    """
    if file.purpose is not Purpose.BATCH:
        raise InvalidRequest(
            f"The file was uploaded for '{file.purpose.value}'; a batch needs one whose purpose is 'batch'.",
            param="input_file_id",
            code="invalid_file_purpose",
        )
    if file.size > MOST_BYTES:
        raise InvalidRequest(
            f"The file has {file.size} bytes; the input of a batch has at most {MOST_BYTES}. Split it.",
            param="input_file_id",
            code="file_too_large",
        )
