"""Where batches lie, what became of their lines, and the files that are made of that; all of it encrypted."""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import orjson

from freehold.encryption.cipher import ContentCipher
from freehold.errors import ContentUnreadable, LeaseLost
from freehold.gateway.file_header import Header
from freehold.gateway.file_store import PIECE_BYTES, RECEIVING_S, FileStore
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
from freehold.store.database import Database
from freehold.store.kept_files import KeptFileRow, delete_file, get_file, make_ready, put_file
from freehold.types.batches import BatchProblem, LineResult, LineUsage
from freehold.types.content import BATCHES, Tenant
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


class BatchStore:
    """The batches of one home.

    Every method may raise ContentUnreadable, ProjectKeyRevoked or KeyServiceUnavailable where content cannot be
    encrypted or decrypted, and HomeError where the database cannot be used; those that take a lease also LeaseLost,
    where it is lost or the batch is gone.

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
        self.database: Database = files.database
        self.files = files
        self.retention = retention
        self.clock = clock
        self._cipher = cipher

    def now_s(self) -> int:
        """The time, in whole seconds since the epoch."""
        return math.floor(self.clock())

    async def seal(self, tenant: Tenant, batch_id: str, what: str, value: Any) -> bytes:
        """A part of a batch as it is stored."""
        return await self._cipher.seal(tenant, BATCHES.name, f"{batch_id}/{what}", orjson.dumps(value))

    async def opened(self, row: BatchRow) -> Batch:
        """A batch as it is known to callers."""
        tenant = tenant_of_batch(row)
        header = orjson.loads(await self._cipher.open(tenant, BATCHES.name, f"{row.id}/header", row.header))
        if not row.problems:
            return Batch(row, header)
        problems = orjson.loads(await self._cipher.open(tenant, BATCHES.name, f"{row.id}/problems", row.problems))
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
        now_ms = int(self.clock() * 1000)
        return _held(await change_batch(self.database, lease, now_ms, batch.id, columns, total=total), batch)

    async def sealed_problems(self, batch: Batch, problems: Sequence[BatchProblem]) -> bytes:
        """What is wrong with the input of a batch, as it is stored."""
        found = [asdict(problem) for problem in problems]
        return await self.seal(tenant_of_batch(batch.row), batch.id, "problems", found)

    async def finished(self, batch: Batch) -> set[int]:
        """The numbers of the lines that are done."""
        return await finished_lines(self.database, batch.id)

    async def put(self, lease: Lease, batch: Batch, results: Sequence[LineResult]) -> bool:
        """Write what became of lines; whether the batch is to end soon."""
        tenant = tenant_of_batch(batch.row)
        rows = [
            ResultRow(
                result.line,
                result.failed,
                len(result.content),
                await self._cipher.seal(tenant, BATCHES.name, f"{batch.id}/{result.line}", result.content),
            )
            for result in results
        ]
        usages = [result.usage for result in results]
        usage = LineUsage(*(sum(column) for column in zip(*(asdict(each).values() for each in usages), strict=True)))
        now_ms = int(self.clock() * 1000)
        return _held(await put_results(self.database, lease, now_ms, batch.row, rows, usage), batch)

    async def make_file(self, batch: Batch, file_id: str, *, failed: bool) -> bool:
        """Make a file of results, in the order of their lines; one that was begun before is made anew.

        Returns:
            Whether there are any; no file is made of none.
        """
        row = batch.row
        size = await result_bytes(self.database, row.id, failed=failed)
        if not size or await get_file(self.database, row.organization_id, row.project_id, file_id) is not None:
            return bool(size)
        tenant, now = tenant_of_batch(row), self.now_s()
        await delete_file(self.database, tenant, file_id)
        file = KeptFileRow(
            id=file_id,
            organization_id=row.organization_id,
            project_id=row.project_id,
            owner_id=row.owner_id,
            purpose=Purpose.BATCH_OUTPUT,
            ready=False,
            size=size,
            header=b"",
            created_at=now,
            expires_at=now + RECEIVING_S,
        )
        await put_file(self.database, file, most=None)
        digest = hashlib.sha256()
        count = await self.files.write(file, file_id, self._joined(batch, digest.update, failed=failed))
        header = Header(f"{row.id}_{'error' if failed else 'output'}.jsonl", digest.hexdigest(), [(file_id, count)])
        sealed = await self.files.seal(file, header)
        ends = batch.header["output_expires_after"]
        end = self.files.end(file, None if ends is None else ExpiresAfter(anchor="created_at", seconds=ends))
        await make_ready(self.database, replace(file, ready=True, header=sealed, expires_at=end))
        return True

    async def _joined(self, batch: Batch, note: Callable[[bytes], None], *, failed: bool) -> AsyncGenerator[bytes]:
        """The results in pieces of a file."""
        tenant, after, piece = tenant_of_batch(batch.row), 0, bytearray()
        while rows := await list_results(self.database, batch.id, failed=failed, after=after, limit=_PAGE):
            for row in rows:
                piece += await self._cipher.open(tenant, BATCHES.name, f"{batch.id}/{row.line}", row.content) + b"\n"
                while len(piece) >= PIECE_BYTES:
                    part, piece = bytes(piece[:PIECE_BYTES]), piece[PIECE_BYTES:]
                    note(part)
                    yield part
            after = rows[-1].line
        if piece:
            note(bytes(piece))
            yield bytes(piece)


class ResultLog:
    """Writes what becomes of lines: those that end while others are being written are written together.

    Args:
        store: where the batch lies.
        batch: whose lines.
        lease: of its job.
        stop: called when the batch is to end soon.
    """

    def __init__(self, store: BatchStore, batch: Batch, lease: Lease, stop: Callable[[], None]) -> None:
        self._store = store
        self._batch = batch
        self._lease = lease
        self._stop = stop
        self._waiting: list[LineResult] = []
        self._writing = asyncio.Lock()

    async def put(self, result: LineResult) -> None:
        """Write a result; it is on the disk when this returns. Raises: as `BatchStore.put`."""
        self._waiting.append(result)
        async with self._writing:
            if result not in self._waiting:
                return
            together = self._waiting[:]
            if await self._store.put(self._lease, self._batch, together):
                self._stop()
            del self._waiting[: len(together)]


def tenant_of_batch(row: BatchRow) -> Tenant:
    """Whose batch it is."""
    return Tenant(row.organization_id, row.project_id, row.owner_id)


def _held(stopping: bool | None, batch: Batch) -> bool:
    if stopping is None:
        raise LeaseLost(f"The batch '{batch.id}' is gone, or somebody else works on it.")
    return stopping
