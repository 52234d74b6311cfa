"""Where fine-tuning jobs lie, with their events and checkpoints; what callers wrote of them is encrypted."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from freehold.encryption.cipher import ContentCipher
from freehold.errors import ContentUnreadable, LeaseLost
from freehold.gateway.file_store import PIECE_BYTES, FileStore
from freehold.gateway.sealed_rows import MadeFile, SealedRows, tenant_of_row
from freehold.governance.retention import RetentionRegistry
from freehold.store.fine_tuning import (
    CheckpointRow,
    EventRow,
    TuningRow,
    add_checkpoint,
    add_event,
    change_tuning,
    list_events,
    list_metrics,
    load_tuning,
)
from freehold.store.kept_files import delete_file, get_file
from freehold.types.content import FINE_TUNING
from freehold.types.files import Purpose
from freehold.types.fine_tuning import Level, TuningError, TuningEvent
from freehold.types.ids import new_id
from freehold.types.jobs import Lease

_PAGE: Final = 500
"""Events that are read at a time."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """A fine-tuning job, opened.

    Args:
        row: as it is stored.
        header: what its caller said of it: metadata, suffix, method, and which base was found.
        error: why it failed.
    """

    row: TuningRow
    header: Mapping[str, Any]
    error: TuningError | None = None

    @property
    def id(self) -> str:
        """Names it."""
        return self.row.id


class FileGone(ContentUnreadable):
    """A training or validation file was deleted, or has expired."""

    default_code = "file_unavailable"


class TuningStore(SealedRows):
    """The fine-tuning jobs of one home.

    Every method may raise what `SealedRows` says; those that take a lease also LeaseLost, where it is lost or the
    job is gone.

    Args:
        files: where their files lie.
        cipher: encrypts them.
        retention: how long they are kept.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        files: FileStore,
        cipher: ContentCipher,
        retention: RetentionRegistry,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(files, cipher, retention, FINE_TUNING, clock=clock)

    async def opened(self, row: TuningRow) -> Tuning:
        """A job as it is known to callers."""
        header = await self.open(row, "header", row.header)
        error = TuningError(**await self.open(row, "error", row.error)) if row.error else None
        return Tuning(row, header, error)

    async def load(self, tuning_id: str) -> Tuning | None:
        """A job, for whoever works on it; None if it is gone."""
        row = await load_tuning(self.database, tuning_id, self.clock())
        return None if row is None else await self.opened(row)

    async def change(self, lease: Lease, tuning: Tuning, *events: EventRow, **columns: Any) -> None:
        """Change columns of a job, and add events; one that has ended for its callers stays so."""
        _held(await change_tuning(self.database, lease, self.now_ms(), tuning.row, columns, *events), tuning)

    async def checkpoint(self, lease: Lease, tuning: Tuning, checkpoint: CheckpointRow) -> None:
        """Add a checkpoint."""
        _held(await add_checkpoint(self.database, lease, self.now_ms(), tuning.row, checkpoint), tuning)

    async def sealed_error(self, tuning: Tuning, error: TuningError) -> bytes:
        """Why a job failed, as it is stored."""
        return await self.seal(tenant_of_row(tuning.row), tuning.id, "error", asdict(error))

    async def event(
        self, row: TuningRow, message: str, level: Level = "info", data: Mapping[str, Any] | None = None
    ) -> EventRow:
        """An event as it is stored; one with data is of the type `metrics`."""
        event_id = new_id("ftevent-")
        sealed = await self.seal(tenant_of_row(row), row.id, event_id, {"message": message, "data": data or {}})
        return EventRow(event_id, level, "message" if data is None else "metrics", sealed, self.now_s())

    async def note(self, row: TuningRow, message: str, level: Level = "info") -> None:
        """Add an event to a job that no worker has."""
        await add_event(self.database, row, await self.event(row, message, level))

    async def events(self, row: TuningRow, *, after: str | None, limit: int) -> list[TuningEvent]:
        """The events of a job, the newest first."""
        found = await list_events(self.database, row.id, after=after, limit=limit)
        return [await self._event(row, each) for each in found]

    async def metrics(self, row: TuningRow) -> AsyncGenerator[Mapping[str, Any]]:
        """The metrics of a job's steps; of a step that was done again, those of its last time."""
        after, steps = "", dict[int, Mapping[str, Any]]()
        while found := await list_metrics(self.database, row.id, after=after, limit=_PAGE):
            for each in found:
                data = (await self._event(row, each)).data
                steps[int(data["step"])] = data
            after = found[-1].id
        for step in sorted(steps):
            yield steps[step]

    async def input(self, row: TuningRow, file_id: str, param: str) -> tuple[str, AsyncGenerator[bytes]]:
        """The digest and the content of a training or validation file.

        Raises:
            FileGone: the file was deleted, or has expired.
        """
        file = await get_file(self.database, row.organization_id, row.project_id, file_id)
        if file is None or self.files.has_expired(file):
            raise FileGone(
                f"The file '{file_id}' was deleted or has expired; upload it again and make a new job.", param=param
            )
        header = await self.files.header(file)
        return header.sha256, self.files.read(file, header)

    async def make_file(self, row: TuningRow, file_id: str, name: str, data: bytes) -> None:
        """Make a file of results, unless it is there."""
        if await self.has_file(row, file_id):
            return

        async def pieces() -> AsyncGenerator[bytes]:
            for start in range(0, len(data), PIECE_BYTES):
                yield data[start : start + PIECE_BYTES]

        await self.write_file(row, MadeFile(file_id, name, Purpose.FINE_TUNE_RESULTS, len(data)), pieces())

    async def remove_file(self, row: TuningRow, file_id: str) -> None:
        """Remove a file of results."""
        await delete_file(self.database, tenant_of_row(row), file_id)

    async def _event(self, row: TuningRow, event: EventRow) -> TuningEvent:
        told = await self.open(row, event.id, event.content)
        return TuningEvent(event.id, event.created_at, event.level, event.type, told["message"], told["data"])


def _held(held: bool, tuning: Tuning) -> None:  # says what the store said
    if not held:
        raise LeaseLost(f"The fine-tuning job '{tuning.id}' is gone, or somebody else works on it.")
