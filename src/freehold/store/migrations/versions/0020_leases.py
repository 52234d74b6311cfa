"""Which parts of the limits each of several gateways holds."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; nothing is leased yet."""
    op.create_table(
        "lease_holders",
        sa.Column("holder", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lease_accounts",
        sa.Column("measure", sa.String(16), primary_key=True),
        sa.Column("subject", sa.String(512), primary_key=True),
        sa.Column("most", sa.Numeric(40, 0), nullable=False),
        sa.Column("used", sa.Numeric(40, 0), nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lease_slices",
        sa.Column("measure", sa.String(16), primary_key=True),
        sa.Column("subject", sa.String(512), primary_key=True),
        sa.Column("holder", sa.String(64), primary_key=True),
        sa.Column("amount", sa.Numeric(40, 0), nullable=False),
        sa.Column("used", sa.Numeric(40, 0), nullable=False),
        sa.Column("spent", sa.Numeric(40, 0), nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
        sa.Column("short_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_lease_slices_holder", "lease_slices", ["holder"])
