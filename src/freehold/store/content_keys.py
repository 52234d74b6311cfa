"""The table of content keys. Holds them encrypted, never a key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from freehold.store.database import Database
from freehold.store.tables import content_keys
from freehold.types.content import KeyState, Tenant

MARK: Final = "mark"
"""What the ids of rows begin with that never held a key: they only say that a project's is revoked, or that a project
or an owner was erased."""


@dataclass(frozen=True, slots=True)
class ContentKeyRow:
    """One content key.

    Args:
        id: names it.
        organization_id: with the next two, whose content it encrypts; an empty `owner_id` is the project's own.
        master: the name of the master key that it is encrypted under; empty once it is destroyed.
        wrapped: the encrypted key; empty once it is destroyed.
        state: what may be done with it.
        created_at: in seconds since the epoch, as the other times.
    """

    id: str
    organization_id: str
    project_id: str
    owner_id: str
    master: str
    wrapped: bytes
    state: KeyState
    created_at: int
    revoked_at: int | None = None
    destroyed_at: int | None = None

    @property
    def is_mark(self) -> bool:
        """Whether it never held a key."""
        return self.id.startswith(MARK)

    @property
    def tenant(self) -> Tenant:
        """Whose content it encrypts."""
        return Tenant(self.organization_id, self.project_id, self.owner_id)


async def get_content_key(database: Database, tenant: Tenant) -> ContentKeyRow | None:
    """The key of a tenant, destroyed or not; None if it never had one."""
    async with database.read() as connection:
        row = (await connection.execute(select(content_keys).where(_of(tenant)))).mappings().first()
        return None if row is None else _row(row)


async def add_content_key(database: Database, row: ContentKeyRow) -> ContentKeyRow:
    """Add a key unless its tenant has one, or has been erased; the key that it then has."""
    owner_erased = Tenant(row.organization_id, "", row.owner_id)
    project = Tenant(row.organization_id, row.project_id, "")
    async with database.write() as connection:
        gone = select(content_keys).where(
            or_(_of(owner_erased), _of(project)), content_keys.c.state == KeyState.DESTROYED
        )
        found = (await connection.execute(gone)).mappings().first() if row.owner_id else None
        if found is not None:
            return _row(found)
        values = {name: getattr(row, name) for name in ContentKeyRow.__slots__}
        await connection.execute(insert(content_keys).values(values).on_conflict_do_nothing())
        there = (await connection.execute(select(content_keys).where(_of(row.tenant)))).mappings().one()
        return _row(there)


async def list_content_keys(
    database: Database, *, after: str = "", limit: int = 1000, organization_id: str | None = None
) -> list[ContentKeyRow]:
    """Keys in the order of their ids, from behind one id on.

    Args:
        database: where they are.
        after: the last id of the page before.
        limit: how many at most.
        organization_id: only this organization's.
    """
    query = select(content_keys).where(content_keys.c.id > after).order_by(content_keys.c.id).limit(limit)
    if organization_id is not None:
        query = query.where(content_keys.c.organization_id == organization_id)
    async with database.read() as connection:
        return [_row(row) for row in (await connection.execute(query)).mappings()]


async def stopped_projects(database: Database) -> dict[tuple[str, str], KeyState]:
    """The state of each project whose own key is not active, by organization and project."""
    query = select(content_keys).where(content_keys.c.owner_id == "", content_keys.c.state != KeyState.ACTIVE)
    async with database.read() as connection:
        rows = [_row(row) for row in (await connection.execute(query)).mappings()]
    return {(row.organization_id, row.project_id): row.state for row in rows}


async def masters_in_use(database: Database) -> dict[str, int]:
    """How many keys are encrypted under each master key."""
    query = (
        select(content_keys.c.master, func.count()).where(content_keys.c.wrapped != b"").group_by(content_keys.c.master)
    )
    async with database.read() as connection:
        return {row[0]: row[1] for row in await connection.execute(query)}


async def revoke_project(database: Database, row: ContentKeyRow) -> bool:
    """Revoke a project's own key; false if it was so or is destroyed.

    Args:
        database: where it is.
        row: says it where the project never had a key of its own: revoked, with nothing in it.
    """
    async with database.write() as connection:
        values = {name: getattr(row, name) for name in ContentKeyRow.__slots__}
        added = await connection.execute(insert(content_keys).values(values).on_conflict_do_nothing())
        if added.rowcount:
            return True
        changed = await connection.execute(
            update(content_keys)
            .where(_of(row.tenant), content_keys.c.state == KeyState.ACTIVE)
            .values(state=KeyState.REVOKED, revoked_at=row.revoked_at)
        )
        return bool(changed.rowcount)


async def restore_project(database: Database, project: Tenant) -> None:
    """Make a project's own key active that is revoked; a row that only said so goes."""
    revoked = _of(project) & (content_keys.c.state == KeyState.REVOKED)
    async with database.write() as connection:
        await connection.execute(delete(content_keys).where(revoked, content_keys.c.wrapped == b""))
        await connection.execute(update(content_keys).where(revoked).values(state=KeyState.ACTIVE, revoked_at=None))


async def rewrap_content_key(database: Database, before: ContentKeyRow, master: str, wrapped: bytes) -> bool:
    """Replace what a key is encrypted under; false if it has changed since or is destroyed."""
    async with database.write() as connection:
        changed = await connection.execute(
            update(content_keys)
            .where(
                content_keys.c.id == before.id,
                content_keys.c.wrapped == before.wrapped,
                content_keys.c.state != KeyState.DESTROYED,
            )
            .values(master=master, wrapped=wrapped)
        )
        return bool(changed.rowcount)


async def destroy_content_keys(database: Database, tombstone: ContentKeyRow, at: int) -> list[ContentKeyRow]:
    """Destroy the keys of a whole project, or of an owner in all projects, and say for ever that it was done.

    Args:
        database: where they are.
        tombstone: the row that says it, destroyed, added where there is none; its tenant has either no owner (the
            whole project) or no project (the owner everywhere).
        at: the moment.

    Returns:
        The keys that there were, as they were; without those that had been destroyed before.
    """
    tenant = tombstone.tenant
    columns = content_keys.c
    which: ColumnElement[bool]
    if tenant.owner_id:
        which = (columns.organization_id == tenant.organization_id) & (columns.owner_id == tenant.owner_id)
    else:
        which = _in_project(tenant)
    async with database.write() as connection:
        alive = select(content_keys).where(which, columns.state != KeyState.DESTROYED).order_by(columns.id)
        rows = [_row(row) for row in (await connection.execute(alive)).mappings()]
        await connection.execute(
            update(content_keys)
            .where(which, columns.state != KeyState.DESTROYED)
            .values(state=KeyState.DESTROYED, wrapped=b"", master="", destroyed_at=at)
        )
        values = {name: getattr(tombstone, name) for name in ContentKeyRow.__slots__}
        await connection.execute(insert(content_keys).values(values).on_conflict_do_nothing())
    return rows


def _of(tenant: Tenant) -> ColumnElement[bool]:
    return _in_project(tenant) & (content_keys.c.owner_id == tenant.owner_id)


def _in_project(tenant: Tenant) -> ColumnElement[bool]:
    columns = content_keys.c
    return (columns.organization_id == tenant.organization_id) & (columns.project_id == tenant.project_id)


def _row(values: Mapping[Any, Any]) -> ContentKeyRow:
    return ContentKeyRow(**{**values, "state": KeyState(values["state"])})
