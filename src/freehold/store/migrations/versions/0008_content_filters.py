"""Content-filter policies and blocklists that were set through the API."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    for name in ("content_filters", "blocklists"):
        op.create_table(
            name,
            sa.Column("name", sa.String(64), primary_key=True),
            sa.Column("settings", sa.JSON, nullable=False),
            sa.Column("created_at", sa.Integer, nullable=False),
            sa.Column("updated_at", sa.Integer, nullable=False),
        )
