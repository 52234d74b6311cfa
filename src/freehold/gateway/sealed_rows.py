"""What batches, fine-tuning jobs and evaluations are kept by: rows whose parts are sealed, and files made of them."""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Protocol, TypeVar

import orjson

from freehold.encryption.cipher import ContentCipher
from freehold.gateway.file_header import Header
from freehold.gateway.file_store import RECEIVING_S, FileStore
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.kept_files import KeptFileRow, delete_file, get_file, make_ready, put_file
from freehold.types.content import ContentKind, Tenant
from freehold.types.files import ExpiresAfter, Purpose

ResultT = TypeVar("ResultT")


class OwnedRow(Protocol):
    """A row that has an id and belongs to a member in a project."""

    @property
    def id(self) -> str:
        """Names it."""

    @property
    def organization_id(self) -> str:
        """With the next two, whose it is."""

    @property
    def project_id(self) -> str:
        """The project."""

    @property
    def owner_id(self) -> str:
        """The member."""


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file to make.

    Args:
        id: names it.
        name: what it is called.
        purpose: what it is for.
        size: in bytes, exactly.
        expires_after: how long it is kept; None for as long as files are.
    """

    id: str
    name: str
    purpose: Purpose
    size: int
    expires_after: ExpiresAfter | None = None


class SealedRows:
    """The rows of one kind.

    Every method may raise ContentUnreadable, ProjectKeyRevoked or KeyServiceUnavailable where content cannot be
    encrypted or decrypted, and HomeError where the database cannot be used.

    Args:
        files: where files lie.
        cipher: encrypts.
        retention: how long things are kept.
        kind: which kind they are.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        files: FileStore,
        cipher: ContentCipher,
        retention: RetentionRegistry,
        kind: ContentKind,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database: Final[Database] = files.database
        self.files = files
        self.retention = retention
        self.clock = clock
        self._cipher = cipher
        self._kind = kind.name

    def now_s(self) -> int:
        """The time, in whole seconds since the epoch."""
        return math.floor(self.clock())

    def now_ms(self) -> int:
        """The time, in milliseconds since the epoch."""
        return int(self.clock() * 1000)

    async def seal(self, tenant: Tenant, row_id: str, what: str, value: Any) -> bytes:
        """A part of a row as it is stored, of a value as JSON."""
        return await self.seal_bytes(tenant, row_id, what, orjson.dumps(value))

    async def seal_bytes(self, tenant: Tenant, row_id: str, what: str, content: bytes) -> bytes:
        """A part of a row as it is stored."""
        return await self._cipher.seal(tenant, self._kind, f"{row_id}/{what}", content)

    async def open(self, row: OwnedRow, what: str, sealed: bytes) -> Any:
        """A part of a row, decoded."""
        return orjson.loads(await self.open_bytes(row, what, sealed))

    async def open_bytes(self, row: OwnedRow, what: str, sealed: bytes) -> bytes:
        """A part of a row."""
        return await self._cipher.open(tenant_of_row(row), self._kind, f"{row.id}/{what}", sealed)

    async def has_file(self, row: OwnedRow, file_id: str) -> bool:
        """Whether a file is there already, and whole."""
        return await get_file(self.database, row.organization_id, row.project_id, file_id) is not None

    async def write_file(self, row: OwnedRow, made: MadeFile, pieces: AsyncGenerator[bytes]) -> None:
        """Make a file for whose row it is, of pieces of `PIECE_BYTES`; one that was begun before is made anew."""
        tenant, now = tenant_of_row(row), self.now_s()
        await delete_file(self.database, tenant, made.id)
        file = KeptFileRow(
            id=made.id,
            organization_id=row.organization_id,
            project_id=row.project_id,
            owner_id=row.owner_id,
            purpose=made.purpose,
            ready=False,
            size=made.size,
            header=b"",
            created_at=now,
            expires_at=now + RECEIVING_S,
        )
        await put_file(self.database, file, most=None)
        digest = hashlib.sha256()
        count = await self.files.write(file, made.id, _noted(pieces, digest.update))
        header = Header(made.name, digest.hexdigest(), [(made.id, count)])
        sealed = await self.files.seal(file, header)
        end = self.files.end(file, made.expires_after)
        await make_ready(self.database, replace(file, ready=True, header=sealed, expires_at=end))


class WrittenTogether(Generic[ResultT]):
    """Writes results: those that end while others are being written are written together.

    Args:
        write: writes some; whether the work is to end soon.
    """

    def __init__(self, write: Callable[[Sequence[ResultT]], Awaitable[bool]]) -> None:
        self._write = write
        self._waiting: list[ResultT] = []
        self._writing = asyncio.Lock()

    async def put(self, result: ResultT) -> bool:
        """Write a result; it is on the disk when this returns. Whether the work is to end soon. Raises: as `write`."""
        self._waiting.append(result)
        async with self._writing:
            if result not in self._waiting:
                return False
            together = self._waiting[:]
            stopping = await self._write(together)
            del self._waiting[: len(together)]
            return stopping


def tenant_of_row(row: OwnedRow) -> Tenant:
    """Whose it is."""
    return Tenant(row.organization_id, row.project_id, row.owner_id)


async def _noted(pieces: AsyncGenerator[bytes], note: Callable[[bytes], None]) -> AsyncGenerator[bytes]:
    async for piece in pieces:
        note(piece)
        yield piece
