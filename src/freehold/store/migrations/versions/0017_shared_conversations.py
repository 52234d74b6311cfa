"""Conversations that their owners let colleagues read."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; nothing is shared yet."""
    op.add_column("kept_conversations", sa.Column("shared", sa.Boolean, nullable=False, server_default=sa.false()))
    shared = sa.column("shared", sa.Boolean).is_(True)
    op.create_index(
        "ix_kept_conversations_shared",
        "kept_conversations",
        ["project_id", "id"],
        sqlite_where=shared,
        postgresql_where=shared,
    )
