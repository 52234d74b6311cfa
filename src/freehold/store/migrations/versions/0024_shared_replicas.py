"""Gateways that share the replicas of one cluster: who leads it, what there is, and what each has to do."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "cluster_leads",
        sa.Column("cluster", sa.String(255), primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("epoch", "since_us", "expires_us", "number")),
    )
    op.create_table(
        "cluster_replicas",
        sa.Column("cluster", sa.String(255), primary_key=True),
        sa.Column("replica", sa.String(255), primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("body", sa.String, nullable=False),
    )
    op.create_table(
        "cluster_wants",
        sa.Column("cluster", sa.String(255), primary_key=True),
        sa.Column("gateway", sa.String(64), primary_key=True),
        sa.Column("known", sa.BigInteger, nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.Column("body", sa.String, nullable=False),
    )
