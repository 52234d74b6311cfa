"""Where batches lie, what became of their lines, and the files that are made of that; all of it encrypted."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from freehold.encryption.cipher import ContentCipher
from freehold.errors import ContentUnreadable, LeaseLost
from freehold.gateway.file_store import PIECE_BYTES, FileStore
from freehold.gateway.sealed_rows import MadeFile, SealedRows, tenant_of_row
from freehold.governance.retention import RetentionRegistry
from freehold.store.batches import (
    BatchRow,
    ResultRow,
    change_batch,
    finished_lines,
    list_results,
    load_batch,
    put_results,
    result_bytes,
)
from freehold.store.kept_files import get_file
from freehold.types.batches import BatchProblem, LineResult, LineUsage
from freehold.types.content import BATCHES
from freehold.types.files import ExpiresAfter, Purpose
from freehold.types.jobs import Lease

_PAGE: Final = 200
"""Results that are read at a time."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, opened.

    Args:
        row: as it is stored.
        header: what its caller said of it, and where it called.
        problems: what is wrong with its input.
    """

    row: BatchRow
    header: Mapping[str, Any]
    problems: Sequence[BatchProblem] = ()

    @property
    def id(self) -> str:
        """Names it."""
        return self.row.id


class InputGone(ContentUnreadable):
    """The input file of a batch was deleted, or has expired."""


class BatchStore(SealedRows):
    """The batches of one home.

    Every method may raise what `SealedRows` says; those that take a lease also LeaseLost, where it is lost or the batch
    is gone.

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
        super().__init__(files, cipher, retention, BATCHES, clock=clock)

    async def opened(self, row: BatchRow) -> Batch:
        """A batch as it is known to callers."""
        header = await self.open(row, "header", row.header)
        if not row.problems:
            return Batch(row, header)
        problems = await self.open(row, "problems", row.problems)
        return Batch(row, header, [BatchProblem(**problem) for problem in problems])

    async def load(self, batch_id: str) -> Batch | None:
        """A batch, for whoever works on it; None if it is gone."""
        row = await load_batch(self.database, batch_id, self.clock())
        return None if row is None else await self.opened(row)

    async def input(self, batch: Batch) -> AsyncGenerator[bytes]:
        """The input of a batch.

        Raises:
            InputGone: the file was deleted, or has expired.
        """
        row = await get_file(self.database, batch.row.organization_id, batch.row.project_id, batch.row.input_file_id)
        if row is None or self.files.has_expired(row):
            raise InputGone("The input file was deleted or has expired; upload it again and make a new batch.")
        return self.files.read(row, await self.files.header(row))

    async def change(self, lease: Lease, batch: Batch, *, total: int | None = None, **columns: Any) -> bool:
        """Change columns of a batch; whether it is to end soon. See `freehold.store.batches.change_batch`."""
        changed = await change_batch(self.database, lease, self.now_ms(), batch.id, columns, total=total)
        return _held(changed, batch)

    async def sealed_problems(self, batch: Batch, problems: Sequence[BatchProblem]) -> bytes:
        """What is wrong with the input of a batch, as it is stored."""
        found = [asdict(problem) for problem in problems]
        return await self.seal(tenant_of_row(batch.row), batch.id, "problems", found)

    async def finished(self, batch: Batch) -> set[int]:
        """The numbers of the lines that are done."""
        return await finished_lines(self.database, batch.id)

    async def put(self, lease: Lease, batch: Batch, results: Sequence[LineResult]) -> bool:
        """Write what became of lines; whether the batch is to end soon."""
        tenant = tenant_of_row(batch.row)
        rows = [
            ResultRow(
                result.line,
                result.failed,
                len(result.content),
                await self.seal_bytes(tenant, batch.id, str(result.line), result.content),
            )
            for result in results
        ]
        usages = [result.usage for result in results]
        usage = LineUsage(*(sum(column) for column in zip(*(asdict(each).values() for each in usages), strict=True)))
        return _held(await put_results(self.database, lease, self.now_ms(), batch.row, rows, usage), batch)

    async def make_file(self, batch: Batch, file_id: str, *, failed: bool) -> bool:
        """Make a file of results, in the order of their lines; one that was begun before is made anew.

        Returns:
            Whether there are any; no file is made of none.
        """
        row = batch.row
        size = await result_bytes(self.database, row.id, failed=failed)
        if not size or await self.has_file(row, file_id):
            return bool(size)
        name, ends = f"{row.id}_{'error' if failed else 'output'}.jsonl", batch.header["output_expires_after"]
        end = None if ends is None else ExpiresAfter(anchor="created_at", seconds=ends)
        made = MadeFile(file_id, name, Purpose.BATCH_OUTPUT, size, end)
        await self.write_file(row, made, self._joined(batch, failed=failed))
        return True

    async def _joined(self, batch: Batch, *, failed: bool) -> AsyncGenerator[bytes]:
        """The results in pieces of a file."""
        after, piece = 0, bytearray()
        while rows := await list_results(self.database, batch.id, failed=failed, after=after, limit=_PAGE):
            for row in rows:
                piece += await self.open_bytes(batch.row, str(row.line), row.content) + b"\n"
                while len(piece) >= PIECE_BYTES:
                    part, piece = bytes(piece[:PIECE_BYTES]), piece[PIECE_BYTES:]
                    yield part
            after = rows[-1].line
        if piece:
            yield bytes(piece)


def _held(stopping: bool | None, batch: Batch) -> bool:
    if stopping is None:
        raise LeaseLost(f"The batch '{batch.id}' is gone, or somebody else works on it.")
    return stopping
