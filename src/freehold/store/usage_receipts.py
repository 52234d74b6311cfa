"""Where in the journal the receipt of a request stands, as the usage database knows it."""

from dataclasses import dataclass

from sqlalchemy import select

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import requests
from freehold.types.receipt import Outcome


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: its segment's number, and the offset of its line in bytes."""

    segment: int
    offset: int


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
    statement = select(requests.c.segment, requests.c.offset).where(requests.c.request_id == request_id)
    async with database.read() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else Place(*row)
