"""Files that come in parts: begun, added to, and put together at the end, or given up."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from freehold.errors import InvalidRequest, NotFound
from freehold.gateway.file_header import SEAL_BYTES, Header
from freehold.gateway.file_rules import FIRST_BYTES, check_kind, check_name
from freehold.gateway.file_store import PIECE_BYTES, FileStore, stored, tenant_of_row
from freehold.governance.authorization import require
from freehold.store.kept_files import (
    KeptFileRow,
    complete_upload,
    delete_file,
    delete_part,
    get_upload,
    parts_of,
)
from freehold.types.content import tenant_of
from freehold.types.files import (
    CompleteRequest,
    Purpose,
    StoredPart,
    StoredUpload,
    UploadRequest,
    UploadStatus,
)
from freehold.types.identity import Action, Principal
from freehold.types.ids import new_id
from freehold.types.images import Upload

PREFIX: Final = "upload_"
PART_BYTES: Final = 64 * 1024 * 1024
"""Of one part at most, as OpenAI has it."""
MOST_PARTS: Final = 1000


class FileUploads:
    """The uploads of one home.

    Args:
        store: where the content of files lies.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._database = store.database

    async def begin(self, principal: Principal, request: UploadRequest) -> StoredUpload:
        """Begin a file that comes in parts; it counts among the project's from now on.

        Raises:
            Forbidden: the caller may not.
            InvalidRequest: name or size are not what they may be, or the project has too much already.
            ZeroRetention: nothing is kept for the project.
            ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable: it cannot be encrypted.
        """
        require(principal, Action.WRITE_FILES, "files")
        header = Header(check_name(request.filename), expires_after=request.expires_after)
        row = self._store.begun(tenant_of(principal), new_id(PREFIX), request.purpose, request.bytes, "bytes")
        row = replace(row, header=await self._store.seal(row, header))
        await self._store.admit(row, "bytes")
        return _told(row, header, "pending")

    async def add(self, principal: Principal, upload_id: str, data: Upload) -> StoredPart:
        """Add a part.

        Raises:
            NotFound: there is no such upload, or it has ended.
            InvalidRequest: the part is empty or too large, or the file would have more parts or bytes than it may.
            Forbidden, ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable, HomeError: as `Files.create`.
        """
        row = await self._row(principal, upload_id)
        if not 0 < data.size <= PART_BYTES:
            raise InvalidRequest(
                f"A part has 1 to {PART_BYTES} bytes; this one has {data.size}.", param="data", code="invalid_part"
            )
        _check_room(row, await parts_of(self._database, row.id), data.size)
        part_id = new_id("part_")
        try:
            await self._store.write(row, part_id, data.pieces(PIECE_BYTES))
            _check_room(row, await parts_of(self._database, row.id))  # others may have come meanwhile
        except BaseException:
            await delete_part(self._database, part_id)
            raise
        return StoredPart(part_id, row.id, math.floor(self._store.clock()))

    async def complete(self, principal: Principal, upload_id: str, request: CompleteRequest) -> StoredUpload:
        """Put the parts together; the upload is over then.

        Raises:
            NotFound: there is no such upload, or it has ended.
            InvalidRequest: the parts are not the upload's, have another size than it was begun with or another
                digest, or the file is not what its purpose needs. The upload goes on.
            Forbidden, ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable, HomeError: as `Files.create`.
        """
        row = await self._row(principal, upload_id)
        begun = await self._store.header(row)
        parts = await parts_of(self._database, row.id)
        wanted = list(dict.fromkeys(request.part_ids))
        if len(wanted) < len(request.part_ids) or not set(wanted) <= set(parts):
            raise InvalidRequest(
                "'part_ids' must name parts of this upload, each once.", param="part_ids", code="invalid_part"
            )
        size = sum(_plain(*parts[part]) for part in wanted)
        if size != row.size:
            raise InvalidRequest(
                f"The parts have {size} bytes together; the upload was begun for {row.size}.",
                param="part_ids",
                code="invalid_size",
            )
        header = replace(begun, parts=[(part, parts[part][0]) for part in wanted], expires_after=None)
        header = replace(header, sha256=await self._checked(row, header, request.md5))
        made = replace(row, id=new_id("file-"), ready=True, created_at=math.floor(self._store.clock()))
        made = replace(made, expires_at=self._store.end(made, begun.expires_after))
        made = replace(made, header=await self._store.seal(made, header))
        if not await complete_upload(self._database, row.id, made, wanted):
            raise _absent(upload_id)
        return replace(_told(row, begun, "completed"), file=stored(made, header))

    async def cancel(self, principal: Principal, upload_id: str) -> StoredUpload:
        """Give an upload up; its parts go.

        Raises:
            NotFound: there is no such upload, or it has ended.
            Forbidden, ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable, HomeError: as `Files.create`.
        """
        row = await self._row(principal, upload_id)
        header = await self._store.header(row)
        if not await delete_file(self._database, tenant_of_row(row), row.id):
            raise _absent(upload_id)
        return _told(row, header, "cancelled")

    async def _checked(self, row: KeptFileRow, header: Header, md5: str | None) -> str:
        """The SHA-256 of the content, in hex, if it is what it should be.

        Raises:
            InvalidRequest: it is not.
        """
        sha256, given = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        first = b""
        async for piece in self._store.read(row, header):
            sha256.update(piece)
            given.update(piece)
            first += piece[: FIRST_BYTES - len(first)]
        if md5 is not None and given.hexdigest() != md5.lower():
            raise InvalidRequest(
                f"The parts have the MD5 digest {given.hexdigest()}, not the one that was given. Send them again.",
                param="md5",
                code="checksum_mismatch",
            )
        check_kind(header.filename, Purpose(row.purpose), first)
        return sha256.hexdigest()

    async def _row(self, principal: Principal, upload_id: str) -> KeptFileRow:
        require(principal, Action.WRITE_FILES, f"uploads/{upload_id[:64]}")
        if not upload_id.startswith(PREFIX):
            raise _absent(upload_id)
        row = await get_upload(self._database, principal.organization_id, principal.project_id, upload_id)
        if row is None or self._store.has_expired(row):
            raise _absent(upload_id)
        return row


def _check_room(row: KeptFileRow, parts: Mapping[str, tuple[int, int]], more: int = 0) -> None:
    """Return if the parts of an upload, and one of so many bytes more, are not more than it was begun with.

    Raises:
        InvalidRequest: they are.
    """
    count, size = len(parts) + bool(more), sum(_plain(*part) for part in parts.values()) + more
    if count > MOST_PARTS or size > row.size:
        raise InvalidRequest(
            f"The upload would have {count} parts and {size} bytes; it may have {MOST_PARTS} and the {row.size} that "
            "it was begun with.",
            param="data",
            code="invalid_part",
        )


def _plain(pieces: int, sealed: int) -> int:
    """How many bytes a part has that is sealed in so many pieces of so many bytes together."""
    return sealed - pieces * SEAL_BYTES


def _told(row: KeptFileRow, header: Header, status: UploadStatus) -> StoredUpload:
    return StoredUpload(row.id, header.filename, Purpose(row.purpose), row.size, status, row.created_at, row.expires_at)


def _absent(upload_id: str) -> NotFound:
    return NotFound(
        f"No such Upload object: {upload_id[:64]}; it was completed or cancelled, or has expired, if it was there.",
        param="upload_id",
    )
