"""Administrative actions, for the audit log. What was projected before comes in by a rebuild."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TEXTS = ("organization_id", "project_id", "event", "principal", "key_id", "resource_id", "body")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "admin_actions",
        sa.Column("writer", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("seq", "segment", "offset", "recorded_at")),
        *(sa.Column(name, sa.Text, nullable=False) for name in _TEXTS),
        sa.PrimaryKeyConstraint("writer", "seq", name="pk_admin_actions"),
    )
    op.create_index("ix_admin_actions_organization_id", "admin_actions", ["organization_id", "recorded_at"])
