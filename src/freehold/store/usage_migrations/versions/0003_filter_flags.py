"""What the content filter found. Receipts from before have nothing of it, so there is nothing to bring in."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_WHOSE = ("organization_id", "project_id", "principal", "key_id", "end_user", "deployment")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "filter_flags",
        sa.Column("writer", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("severity", sa.BigInteger, nullable=False),
        sa.Column("blocked", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in _WHOSE),
        sa.PrimaryKeyConstraint("writer", "seq", "side", "name", name="pk_filter_flags"),
    )
    for name in ("organization_id", "project_id", "principal", "end_user"):
        op.create_index(f"ix_filter_flags_{name}", "filter_flags", [name, "started_at"])
