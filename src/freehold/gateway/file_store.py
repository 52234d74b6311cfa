"""Where the content of files lies: encrypted in the store, piece by piece, so that no file is ever in memory whole."""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from freehold.encryption.cipher import ContentCipher
from freehold.errors import ContentUnreadable, InvalidRequest
from freehold.gateway.file_header import Header
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.kept_files import KeptFileRow, get_piece, put_file, put_piece
from freehold.types.content import DAY_S, FILES, Tenant
from freehold.types.files import ExpiresAfter, FilesSettings, Purpose, StoredFile

PIECE_BYTES: Final = 512 * 1024
RECEIVING_S: Final = 3600
"""How long a file may take to come; whatever was interrupted goes then."""
BATCH_S: Final = 30 * DAY_S
"""How long files for batches are kept at most, unless a request says otherwise, as OpenAI does."""


class FileStore:
    """Writes and reads what files are made of.

    Args:
        database: where they lie.
        cipher: encrypts them.
        retention: how long they are kept.
        settings: how much there may be.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        cipher: ContentCipher,
        retention: RetentionRegistry,
        settings: FilesSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.retention = retention
        self.settings = settings
        self.clock = clock
        self._cipher = cipher

    def begun(self, tenant: Tenant, row_id: str, purpose: Purpose, size: int, param: str) -> KeptFileRow:
        """The row of a file that is to come, not written yet.

        Raises:
            ZeroRetention: nothing is kept for the project.
            InvalidRequest: it would be empty or too large.
        """
        self.retention.check_keeping(tenant.organization_id, tenant.project_id, param)
        limit = self.settings.max_bytes
        if size == 0:
            raise InvalidRequest("The file is empty.", param=param, code="empty_file")
        if size > limit:
            raise InvalidRequest(
                f"The file has {size} bytes; at most {limit} are taken.", param=param, code="file_too_large"
            )
        now = math.floor(self.clock())
        return KeptFileRow(
            id=row_id,
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            owner_id=tenant.owner_id,
            purpose=purpose.value,
            ready=False,
            size=size,
            header=b"",
            created_at=now,
            expires_at=now + RECEIVING_S,
        )

    async def admit(self, row: KeptFileRow, param: str) -> None:
        """Write the row of a file that is to come; whatever comes at the same time, a project has no more than it may.

        Raises:
            InvalidRequest: the project has too much already.
            HomeError: it cannot be written.
        """
        most = self.settings.max_project_bytes
        together = await put_file(self.database, row, most=most)
        if together > most:
            raise InvalidRequest(
                f"The project's files would have {together} bytes together; {most} are allowed. Delete some first.",
                param=param,
                code="file_storage_full",
            )

    async def write(self, row: KeptFileRow, part_id: str, pieces: AsyncIterator[bytes]) -> int:
        """Write a part of a file; how many pieces it has.

        Raises:
            ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable: it cannot be encrypted.
            HomeError: it cannot be written, as on a full disk.
        """
        number = 0
        async for piece in pieces:
            sealed = await self._cipher.seal(tenant_of_row(row), FILES.name, f"{part_id}/{number}", piece)
            await put_piece(self.database, row, part_id, number, sealed)
            number += 1
        return number

    async def read(self, row: KeptFileRow, header: Header) -> AsyncGenerator[bytes]:
        """The content of a file.

        Raises:
            ContentUnreadable: a piece is missing, damaged or was moved.
            ProjectKeyRevoked, KeyServiceUnavailable: it cannot be decrypted.
        """
        for part, count in header.parts:
            for number in range(count):
                sealed = await get_piece(self.database, part, number)
                if sealed is None:
                    raise ContentUnreadable("The content of the file is not complete: it was deleted meanwhile.")
                yield await self._cipher.open(tenant_of_row(row), FILES.name, f"{part}/{number}", sealed)

    async def seal(self, row: KeptFileRow, header: Header) -> bytes:
        """A header as it is stored. Raises: as `write`."""
        return await self._cipher.seal(tenant_of_row(row), FILES.name, row.id, header.encoded())

    async def header(self, row: KeptFileRow) -> Header:
        """The header of a row. Raises: as `read`."""
        return Header.decoded(await self._cipher.open(tenant_of_row(row), FILES.name, row.id, row.header))

    def end(self, row: KeptFileRow, expires_after: ExpiresAfter | None) -> int:
        """When a file expires: as its request says, but never later than the project's files do."""
        keep_s = self.retention.keep_s(row.organization_id, row.project_id, FILES)
        if expires_after is not None:
            keep_s = min(keep_s, expires_after.seconds)
        elif row.purpose in {Purpose.BATCH, Purpose.BATCH_OUTPUT}:
            keep_s = min(keep_s, BATCH_S)
        return row.created_at + keep_s

    def has_expired(self, row: KeptFileRow) -> bool:
        """Whether a row counts as absent."""
        return row.expires_at <= self.clock()


def tenant_of_row(row: KeptFileRow) -> Tenant:
    """Whose file it is."""
    return Tenant(row.organization_id, row.project_id, row.owner_id)


def stored(row: KeptFileRow, header: Header) -> StoredFile:
    """A file as callers know it."""
    return StoredFile(
        row.id, header.filename, Purpose(row.purpose), row.size, header.sha256, row.created_at, row.expires_at
    )
