"""Whose journal the record of an artifact stands in."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; there was one journal before."""
    op.add_column("artifacts", sa.Column("writer", sa.String(64), nullable=False, server_default="main"))
