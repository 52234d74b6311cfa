"""The table of models that are on this machine."""

from dataclasses import fields

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from freehold.store.database import Database
from freehold.store.tables import models
from freehold.types.model import ModelEntry

_COLUMNS = [models.c[column.name] for column in fields(ModelEntry)]


async def all_models(database: Database) -> list[ModelEntry]:
    """Every model, by name."""
    async with database.read() as connection:
        rows = await connection.execute(select(*_COLUMNS).order_by(models.c.name))
        return [ModelEntry(**row) for row in rows.mappings()]


async def find_model(database: Database, reference: str) -> ModelEntry | None:
    """The model of that name or, if there is none, the oldest that was pulled from that URI."""
    statement = (
        select(*_COLUMNS)
        .where(or_(models.c.name == reference, models.c.source == reference))
        .order_by(models.c.name != reference, models.c.created_at, models.c.name)
        .limit(1)
    )
    async with database.read() as connection:
        row = (await connection.execute(statement)).mappings().first()
        return ModelEntry(**row) if row is not None else None


async def put_model(database: Database, entry: ModelEntry) -> None:
    """Create the model, or replace it."""
    values = {column.name: getattr(entry, column.name) for column in fields(ModelEntry)}
    values["details"] = dict(entry.details)
    statement = insert(models).values(values)
    del values["name"]
    async with database.write() as connection:
        await connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))


async def delete_model(database: Database, name: str) -> None:
    """Remove the model, if it is there."""
    async with database.write() as connection:
        await connection.execute(delete(models).where(models.c.name == name))


async def count_users(database: Database, sha256: str) -> int:
    """How many models are served from the file with that digest."""
    statement = select(func.count()).select_from(models).where(models.c.sha256 == sha256)
    async with database.read() as connection:
        return (await connection.execute(statement)).scalar_one()
