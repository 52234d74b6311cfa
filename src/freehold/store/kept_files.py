"""The tables of files: a row for each, and its content in pieces. Both hold ciphertext only.

A file's row stands before its pieces do, as one that is being received; it counts as there once it is made ready. So
whatever is interrupted leaves rows that expire.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update

from freehold.store.database import Database
from freehold.store.tables import kept_file_pieces, kept_files
from freehold.types.content import Tenant


@dataclass(frozen=True, slots=True)
class KeptFileRow:
    """One file.

    Args:
        id: names it.
        organization_id: with the next two, whose it is.
        purpose: what it is for.
        ready: whether all of it is there.
        size: of its content, in bytes.
        header: encrypted: its name, the digest of its content, and what that is made of.
        created_at: in seconds since the epoch.
        expires_at: from when on it counts as absent.
    """

    id: str
    organization_id: str
    project_id: str
    owner_id: str
    purpose: str
    ready: bool
    size: int
    header: bytes
    created_at: int
    expires_at: int


async def put_file(database: Database, row: KeptFileRow, *, most: int | None) -> int:
    """Add a file that is being received, if the files of its project have at most `most` bytes then; None is no limit.

    Returns:
        How many bytes they have with it, those that are being received included; it was not added where these are more.
    """
    table = kept_files
    query = select(func.coalesce(func.sum(table.c.size), 0)).where(
        table.c.organization_id == row.organization_id, table.c.project_id == row.project_id
    )
    async with database.write() as connection:
        together = int((await connection.execute(query)).scalar_one()) + row.size
        if most is None or together <= most:
            values = {name: getattr(row, name) for name in KeptFileRow.__slots__}
            await connection.execute(insert(table).values(values))
    return together


async def put_piece(database: Database, row: KeptFileRow, part_id: str, number: int, data: bytes) -> None:
    """Add a piece of a file's content."""
    async with database.write() as connection:
        await connection.execute(
            insert(kept_file_pieces).values(
                part_id=part_id,
                number=number,
                file_id=row.id,
                organization_id=row.organization_id,
                project_id=row.project_id,
                owner_id=row.owner_id,
                data=data,
                created_at=row.created_at,
                expires_at=row.expires_at,
            )
        )


async def make_ready(database: Database, row: KeptFileRow) -> bool:
    """Let a file that was received be there, as the row says; false if it is gone meanwhile."""
    table, pieces = kept_files, kept_file_pieces
    values = {"ready": True, "size": row.size, "header": row.header, "expires_at": row.expires_at}
    async with database.write() as connection:
        done = await connection.execute(update(table).where(table.c.id == row.id).values(values))
        await connection.execute(update(pieces).where(pieces.c.file_id == row.id).values(expires_at=row.expires_at))
        return done.rowcount == 1


async def get_file(database: Database, organization_id: str, project_id: str, file_id: str) -> KeptFileRow | None:
    """A file of a project that is ready, expired or not; None if there is none."""
    table = kept_files
    query = select(table).where(
        table.c.id == file_id,
        table.c.organization_id == organization_id,
        table.c.project_id == project_id,
        table.c.ready,
    )
    async with database.read() as connection:
        row = (await connection.execute(query)).mappings().first()
        return None if row is None else KeptFileRow(**row)


async def list_files(
    database: Database,
    organization_id: str,
    project_id: str,
    *,
    now_s: float,
    purpose: str | None,
    after: str | None,
    newest_first: bool,
    limit: int,
) -> list[KeptFileRow]:
    """Files of a project that are ready and not expired, by their ids, which are in the order of time."""
    table = kept_files
    query = select(table).where(
        table.c.organization_id == organization_id,
        table.c.project_id == project_id,
        table.c.ready,
        table.c.expires_at > now_s,
    )
    if purpose is not None:
        query = query.where(table.c.purpose == purpose)
    if after is not None:
        query = query.where(table.c.id < after if newest_first else table.c.id > after)
    query = query.order_by(table.c.id.desc() if newest_first else table.c.id).limit(limit)
    async with database.read() as connection:
        return [KeptFileRow(**row) for row in (await connection.execute(query)).mappings()]


async def get_upload(database: Database, organization_id: str, project_id: str, upload_id: str) -> KeptFileRow | None:
    """A file of a project that is being received, expired or not; None if there is none."""
    table = kept_files
    query = select(table).where(
        table.c.id == upload_id,
        table.c.organization_id == organization_id,
        table.c.project_id == project_id,
        table.c.ready.is_(False),
    )
    async with database.read() as connection:
        row = (await connection.execute(query)).mappings().first()
        return None if row is None else KeptFileRow(**row)


async def parts_of(database: Database, file_id: str) -> dict[str, tuple[int, int]]:
    """Of each part of a file how many pieces it has, and how many bytes of ciphertext."""
    table = kept_file_pieces
    query = (
        select(table.c.part_id, func.count(), func.sum(func.length(table.c.data)))
        .where(table.c.file_id == file_id)
        .group_by(table.c.part_id)
    )
    async with database.read() as connection:
        return {row[0]: (row[1], row[2]) for row in await connection.execute(query)}


async def delete_part(database: Database, part_id: str) -> None:
    """Remove the pieces of a part."""
    async with database.write() as connection:
        await connection.execute(delete(kept_file_pieces).where(kept_file_pieces.c.part_id == part_id))


async def complete_upload(database: Database, upload_id: str, row: KeptFileRow, part_ids: Sequence[str]) -> bool:
    """Let a file be there in the place of an upload, made of some of its parts; the others go.

    Returns:
        False where the upload is gone meanwhile; nothing has changed then.
    """
    pieces = kept_file_pieces
    values = {name: getattr(row, name) for name in KeptFileRow.__slots__}
    async with database.write() as connection:
        done = await connection.execute(delete(kept_files).where(kept_files.c.id == upload_id))
        if not done.rowcount:
            return False
        await connection.execute(insert(kept_files).values(values))
        await connection.execute(
            update(pieces)
            .where(pieces.c.file_id == upload_id, pieces.c.part_id.in_(part_ids))
            .values(file_id=row.id, created_at=row.created_at, expires_at=row.expires_at)
        )
        await connection.execute(delete(pieces).where(pieces.c.file_id == upload_id))
    return True


async def get_piece(database: Database, part_id: str, number: int) -> bytes | None:
    """A piece of a file's content; None if there is none."""
    table = kept_file_pieces
    query = select(table.c.data).where(table.c.part_id == part_id, table.c.number == number)
    async with database.read() as connection:
        return (await connection.execute(query)).scalar_one_or_none()


async def delete_file(database: Database, tenant: Tenant, file_id: str) -> bool:
    """Remove a file of a project with its content; false if there was none."""
    table = kept_files
    which = (
        table.c.id == file_id,
        table.c.organization_id == tenant.organization_id,
        table.c.project_id == tenant.project_id,
    )
    async with database.write() as connection:
        done = await connection.execute(delete(table).where(*which))
        if not done.rowcount:
            return False
        await connection.execute(delete(kept_file_pieces).where(kept_file_pieces.c.file_id == file_id))
    return True
