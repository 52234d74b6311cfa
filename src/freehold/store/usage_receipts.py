"""Where in the journal the receipt of a request stands, as the usage database knows it."""

from dataclasses import dataclass

from sqlalchemy import select

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import requests
from freehold.types.receipt import Outcome


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: whose journal, the segment's number, the line's offset in bytes; and who it is about."""

    writer: str
    segment: int
    offset: int
    organization_id: str
    project_id: str


async def find_outcome(database: UsageDatabase, request_id: str) -> tuple[Outcome, int] | None:
    """How a request ended, and what it was charged, in micro-units; None if the database has no receipt of it.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    columns = (requests.c.outcome, requests.c.cost_micro)
    statement = select(*columns).where(requests.c.request_id == request_id)
    async with database.read() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else (Outcome(row.outcome), row.cost_micro)


async def find_request(database: UsageDatabase, request_id: str) -> Place | None:
    """The place of a request's receipt; None if the database does not have it.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    columns = [requests.c[name] for name in Place.__slots__]
    statement = select(*columns).where(requests.c.request_id == request_id)
    async with database.read() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else Place(*row)
