"""The files of projects.

Whoever may read files reads all of their project's, and none of another's: those do not exist for them.
"""

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from freehold.errors import NotFound
from freehold.gateway.file_header import Header
from freehold.gateway.file_rules import FIRST_BYTES, check_kind, check_name
from freehold.gateway.file_store import PIECE_BYTES, FileStore, stored
from freehold.governance.authorization import require
from freehold.store.kept_files import KeptFileRow, delete_file, get_file, list_files, make_ready
from freehold.types.content import tenant_of
from freehold.types.files import FileQuery, FileRequest, StoredFile
from freehold.types.identity import Action, Principal
from freehold.types.ids import new_id
from freehold.types.images import Upload


class Files:
    """The files of one home.

    Args:
        store: where their content lies.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._database = store.database
        self.settings = store.settings

    async def create(self, principal: Principal, upload: Upload, request: FileRequest) -> StoredFile:
        """Keep a file.

        Raises:
            Forbidden: the caller may not.
            InvalidRequest: name, size or kind are not what they may be, or the project has too much already.
            ZeroRetention: nothing is kept for the project.
            ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable: it cannot be encrypted.
            HomeError: it cannot be written, as on a full disk; nothing of it stays.
        """
        require(principal, Action.WRITE_FILES, "files")
        tenant, file_id, name = tenant_of(principal), new_id("file-"), check_name(upload.name)
        row = self._store.begun(tenant, file_id, request.purpose, upload.size, "file")
        await self._store.admit(row, "file")
        digest = hashlib.sha256()

        async def pieces() -> AsyncGenerator[bytes]:
            first = True
            async for piece in upload.pieces(PIECE_BYTES):
                if first:
                    check_kind(name, request.purpose, piece[:FIRST_BYTES])
                    first = False
                digest.update(piece)
                yield piece

        try:
            count = await self._store.write(row, file_id, pieces())
            header = Header(name, digest.hexdigest(), [(file_id, count)])
            sealed = await self._store.seal(row, header)
            end = self._store.end(row, request.expires_after)
            row = replace(row, ready=True, header=sealed, expires_at=end)
            done = await make_ready(self._database, row)
        except BaseException:
            await delete_file(self._database, tenant, file_id)
            raise
        if not done:
            raise absent(file_id)
        return stored(row, header)

    async def list(self, principal: Principal, query: FileQuery) -> tuple[list[StoredFile], bool]:
        """The files of the caller's project, and whether there are more of them.

        Raises:
            Forbidden: the caller may not read files.
            ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable: their names cannot be decrypted.
        """
        require(principal, Action.READ_FILES, "files")
        rows = await list_files(
            self._database,
            principal.organization_id,
            principal.project_id,
            now_s=self._store.clock(),
            purpose=query.purpose.value if query.purpose else None,
            after=query.after,
            newest_first=query.newest_first,
            limit=query.limit + 1,
        )
        found = [stored(row, await self._store.header(row)) for row in rows[: query.limit]]
        return found, len(rows) > query.limit

    async def get(self, principal: Principal, file_id: str) -> StoredFile:
        """One file of the caller's project.

        Raises:
            NotFound: there is none of that id.
            Forbidden, ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable: as `list`.
        """
        require(principal, Action.READ_FILES, f"files/{file_id[:64]}")
        row = await self._row(principal, file_id)
        return stored(row, await self._store.header(row))

    async def content(self, principal: Principal, file_id: str) -> tuple[StoredFile, AsyncGenerator[bytes]]:
        """A file of the caller's project, and its content in pieces.

        Raises (also while iterating): as `get`.
        """
        require(principal, Action.READ_FILES, f"files/{file_id[:64]}")
        row = await self._row(principal, file_id)
        header = await self._store.header(row)
        return stored(row, header), self._store.read(row, header)

    async def digest_of(self, organization_id: str, project_id: str, file_id: str) -> str | None:
        """The SHA-256 of a file's content as it is now, in hex; None where the file is no more.

        Raises:
            ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable: it cannot be decrypted.
        """
        row = await get_file(self._database, organization_id, project_id, file_id)
        if row is None or self._store.has_expired(row):
            return None
        digest = hashlib.sha256()
        async for piece in self._store.read(row, await self._store.header(row)):
            digest.update(piece)
        return digest.hexdigest()

    async def delete(self, principal: Principal, file_id: str) -> None:
        """Remove a file of the caller's project.

        Raises:
            NotFound: there is none of that id.
            Forbidden: the caller may not.
        """
        require(principal, Action.WRITE_FILES, f"files/{file_id[:64]}")
        await self._row(principal, file_id)
        if not await delete_file(self._database, tenant_of(principal), file_id):
            raise absent(file_id)

    async def _row(self, principal: Principal, file_id: str) -> KeptFileRow:
        row = await get_file(self._database, principal.organization_id, principal.project_id, file_id)
        if row is None or self._store.has_expired(row):
            raise absent(file_id)
        return row


def absent(file_id: str) -> NotFound:
    """The one answer to a question for a file that does not exist, or is another project's."""
    return NotFound(f"No such File object: {file_id[:64]}", param="id")
