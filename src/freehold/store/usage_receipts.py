"""Where in the journal the receipt of a request stands, as the usage database knows it."""

from dataclasses import dataclass

from sqlalchemy import select

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import requests


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: its segment's number, and the offset of its line in bytes."""

    segment: int
    offset: int


async def find_request(database: UsageDatabase, request_id: str) -> Place | None:
    """The place of a request's receipt; None if the database does not have it.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    statement = select(requests.c.segment, requests.c.offset).where(requests.c.request_id == request_id)
    async with database.read() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else Place(*row)
