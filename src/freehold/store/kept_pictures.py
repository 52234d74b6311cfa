"""The table of kept pictures. Holds ciphertext, never a picture."""

from dataclasses import dataclass

from sqlalchemy import insert, select

from freehold.store.database import Database
from freehold.store.tables import kept_pictures


@dataclass(frozen=True, slots=True)
class KeptPictureRow:
    """One kept picture.

    Args:
        id: names it.
        organization_id: with the next two, whose it is.
        request_id: of the request that made it.
        media_type: such as `image/png`.
        picture: the encrypted file.
        created_at: when it was kept, in seconds since the epoch.
        expires_at: from when on it counts as absent.
    """

    id: str
    organization_id: str
    project_id: str
    owner_id: str
    request_id: str
    media_type: str
    picture: bytes
    created_at: int
    expires_at: int


async def get_kept_picture(database: Database, picture_id: str) -> KeptPictureRow | None:
    """The row of that name, expired or not; None if there is none."""
    async with database.read() as connection:
        found = await connection.execute(select(kept_pictures).where(kept_pictures.c.id == picture_id))
        row = found.mappings().first()
        return None if row is None else KeptPictureRow(**row)


async def put_kept_picture(database: Database, row: KeptPictureRow) -> None:
    """Add a row."""
    async with database.write() as connection:
        await connection.execute(
            insert(kept_pictures).values({name: getattr(row, name) for name in KeptPictureRow.__slots__})
        )
