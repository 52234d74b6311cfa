"""The table of deployments that were made through the API, or laid down for a new home."""

import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from freehold.store.database import Database
from freehold.store.tables import deployments, home


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """One deployment: its name, where it was defined, its settings as JSON values, when it was made."""

    name: str
    origin: str
    settings: dict[str, Any]
    created_at: int = field(default_factory=lambda: int(time.time()))


async def all_deployments(database: Database) -> list[DeploymentRow]:
    """Every stored deployment, oldest first."""
    async with database.read() as connection:
        columns = [deployments.c[name] for name in DeploymentRow.__slots__]
        rows = await connection.execute(select(*columns).order_by(deployments.c.created_at, deployments.c.name))
        return [DeploymentRow(**row) for row in rows.mappings()]


async def put_deployment(database: Database, row: DeploymentRow) -> None:
    """Create the deployment, or replace its settings."""
    now = int(time.time())
    statement = insert(deployments).values(
        name=row.name, origin=row.origin, settings=row.settings, created_at=row.created_at, updated_at=now
    )
    async with database.write() as connection:
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["name"],
                set_={"origin": row.origin, "settings": row.settings, "updated_at": now},
            )
        )


async def delete_deployment(database: Database, name: str) -> None:
    """Remove the deployment, if it is there."""
    async with database.write() as connection:
        await connection.execute(delete(deployments).where(deployments.c.name == name))


async def get_fact(database: Database, name: str) -> Any:
    """A fact about this home, or None."""
    async with database.read() as connection:
        return (await connection.execute(select(home.c.value).where(home.c.name == name))).scalar()


def own_fact(database: Database, name: str) -> str:
    """The name of a fact that holds for this gateway alone, where there are several."""
    return f"{name}@{database.gateway}" if database.gateway else name


async def put_fact(database: Database, name: str, value: Any) -> None:
    """Remember a fact about this home."""
    statement = insert(home).values(name=name, value=value)
    async with database.write() as connection:
        await connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
