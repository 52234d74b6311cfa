"""What gateways take of provisioned units that they share, by the moment at which it began."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; older gateways leave them empty, and count units for themselves."""
    op.add_column("lease_slices", sa.Column("oldest_us", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("lease_slices", sa.Column("taken", sa.String, nullable=False, server_default=""))
