"""The tables of organizations, projects, members, role assignments and invites."""

from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.database import Database
from freehold.store.tables import invites, members, organizations, projects, role_assignments


@dataclass(frozen=True, slots=True)
class OrganizationRow:
    """One organization. Times are seconds since the epoch, here as in all rows."""

    id: str
    name: str
    created_at: int


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """One project of an organization."""

    id: str
    organization_id: str
    name: str
    created_at: int
    archived_at: int | None = None


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A user or a service account.

    Args:
        id: `user-…` or `svc_…`.
        organization_id: whose member it is.
        kind: `user` or `service_account`.
        project_id: whose service account it is; None for a user, and for a service account of the organization.
        name: what it is called.
        email: a user's, in lower case.
        created_at: when it came.
        disabled_at: since when it may do nothing.
    """

    id: str
    organization_id: str
    kind: str
    project_id: str | None
    name: str
    email: str | None
    created_at: int
    disabled_at: int | None = None


@dataclass(frozen=True, slots=True)
class AssignmentRow:
    """A role that a member holds in a project; in the organization, if the project's id is empty."""

    member_id: str
    project_id: str
    role: str
    source: str
    created_at: int


@dataclass(frozen=True, slots=True)
class InviteRow:
    """An invitation; `projects` are pairs of a project's id and a role."""

    id: str
    organization_id: str
    email: str
    role: str
    projects: tuple[tuple[str, str], ...]
    token_digest: bytes
    created_at: int
    expires_at: int
    accepted_at: int | None = None


RowT = TypeVar("RowT", OrganizationRow, ProjectRow, MemberRow, AssignmentRow)
Row = OrganizationRow | ProjectRow | MemberRow | AssignmentRow

_TABLES: dict[type[Any], Table] = {
    OrganizationRow: organizations,
    ProjectRow: projects,
    MemberRow: members,
    AssignmentRow: role_assignments,
}


async def all_rows(database: Database, kind: type[RowT]) -> list[RowT]:
    """Every row of a table, in the order in which they came."""
    table = _TABLES[kind]
    async with database.read() as connection:
        rows = await connection.execute(select(table).order_by(table.c.created_at, *table.primary_key.columns))
        return [kind(**row) for row in rows.mappings()]


async def has_organization(connection: AsyncConnection, organization_id: str) -> bool:
    """Whether there is an organization of this id."""
    found = select(organizations.c.id).where(organizations.c.id == organization_id)
    return (await connection.execute(found)).first() is not None


async def insert_rows(connection: AsyncConnection, *rows: Row) -> None:
    """Add rows within a transaction."""
    for row in rows:
        await connection.execute(insert(_TABLES[type(row)]).values(values_of(row)))


async def replace_row(connection: AsyncConnection, row: OrganizationRow | ProjectRow | MemberRow) -> None:
    """Write all values of a row anew within a transaction."""
    table = _TABLES[type(row)]
    await connection.execute(update(table).where(table.c.id == row.id).values(values_of(row)))


async def delete_member(connection: AsyncConnection, member_id: str) -> None:
    """Remove a member and all roles that it holds within a transaction."""
    await connection.execute(delete(role_assignments).where(role_assignments.c.member_id == member_id))
    await connection.execute(delete(members).where(members.c.id == member_id))


async def set_assignments(
    connection: AsyncConnection, member_id: str, project_id: str | None, source: str, rows: list[AssignmentRow]
) -> None:
    """Replace, within a transaction, the roles that a source gave a member; of all projects if that is None."""
    table = role_assignments
    where = [table.c.member_id == member_id, table.c.source == source]
    if project_id is not None:
        where.append(table.c.project_id == project_id)
    await connection.execute(delete(table).where(*where))
    await insert_rows(connection, *rows)


async def all_invites(database: Database) -> list[InviteRow]:
    """Every invite, accepted and expired ones included, oldest first."""
    async with database.read() as connection:
        rows = await connection.execute(select(invites).order_by(invites.c.created_at, invites.c.id))
        return [
            InviteRow(**{**row, "projects": tuple((item["id"], item["role"]) for item in row["projects"])})
            for row in rows.mappings()
        ]


async def put_invite(connection: AsyncConnection, row: InviteRow) -> None:
    """Add an invite, or write it anew, within a transaction."""
    listed = [{"id": project_id, "role": role} for project_id, role in row.projects]
    await connection.execute(delete(invites).where(invites.c.id == row.id))
    await connection.execute(insert(invites).values({**values_of(row), "projects": listed}))


async def delete_invite(connection: AsyncConnection, invite_id: str) -> None:
    """Remove an invite within a transaction."""
    await connection.execute(delete(invites).where(invites.c.id == invite_id))


def values_of(row: Row | InviteRow) -> dict[str, Any]:
    """The values of a row by the names of their columns."""
    return {name: getattr(row, name) for name in type(row).__slots__}
