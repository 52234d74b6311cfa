"""Organizations, projects, members with their roles, invites; every key gets an owner."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ORGANIZATION, PROJECT = "org-default", "proj-default"


def upgrade() -> None:
    """Create the tables, and make of every key that there is the key of a service account."""
    op.create_table(
        "organizations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organization_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("archived_at", sa.Integer, nullable=True),
    )
    op.create_table(
        "members",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organization_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=True),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("email", sa.String(320), nullable=True, unique=True),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("disabled_at", sa.Integer, nullable=True),
    )
    op.create_table(
        "role_assignments",
        sa.Column("member_id", sa.String(64), primary_key=True),
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("role", sa.String(64), primary_key=True),
        sa.Column("source", sa.String(128), primary_key=True),
        sa.Column("created_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "invites",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organization_id", sa.String(64), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("projects", sa.JSON, nullable=False),
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.Column("accepted_at", sa.Integer, nullable=True),
    )
    op.add_column("api_keys", sa.Column("owner_id", sa.String(64), nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("scope", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("api_keys", sa.Column("expires_at", sa.Integer, nullable=True))
    op.add_column("api_keys", sa.Column("last_used_at", sa.Integer, nullable=True))
    _adopt(op.get_bind())
    op.drop_column("api_keys", "roles")


def _adopt(connection: sa.Connection) -> None:
    """Give the keys that there are an organization, a project and owners with the same roles."""
    keys = sa.table("api_keys", *map(sa.column, ("id", "name", "created_at", "owner_id")), sa.column("roles", sa.JSON))
    organizations = sa.table("organizations", *map(sa.column, ("id", "name", "created_at")))
    projects = sa.table("projects", *map(sa.column, ("id", "organization_id", "name", "created_at")))
    described = ("id", "organization_id", "kind", "project_id", "name", "created_at")
    members = sa.table("members", *map(sa.column, described))
    held = ("member_id", "project_id", "role", "source", "created_at")
    assignments = sa.table("role_assignments", *map(sa.column, held))
    rows = connection.execute(sa.select(keys)).all()
    began = min((row.created_at for row in rows), default=None)
    if began is None:
        return
    connection.execute(organizations.insert().values(id=ORGANIZATION, name="Default", created_at=began))
    connection.execute(
        projects.insert().values(id=PROJECT, organization_id=ORGANIZATION, name="Default project", created_at=began)
    )
    for row in rows:
        member_id, owns = f"svc_{row.id.removeprefix('key_')}", "owner" in row.roles
        connection.execute(
            members.insert().values(
                id=member_id,
                organization_id=ORGANIZATION,
                kind="service_account",
                project_id=None if owns else PROJECT,
                name=row.name,
                created_at=row.created_at,
            )
        )
        for role in row.roles:
            connection.execute(
                assignments.insert().values(
                    member_id=member_id,
                    project_id="" if owns else PROJECT,
                    role=role,
                    source="api",
                    created_at=row.created_at,
                )
            )
        connection.execute(keys.update().where(keys.c.id == row.id).values(owner_id=member_id))
