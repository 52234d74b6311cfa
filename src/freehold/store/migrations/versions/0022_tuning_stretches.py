"""Fine-tuning jobs ask for room as trainings do: what one waits for, has, and has had."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TABLE = "kept_tuning_jobs"


def upgrade() -> None:
    """Add the columns."""
    op.add_column(_TABLE, sa.Column("stage", sa.String(16), nullable=False, server_default=""))
    for name in ("preemptions", "stretch", "stretch_step"):
        op.add_column(_TABLE, sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    for name in ("stretch_began_us", "stretch_seen_us"):
        op.add_column(_TABLE, sa.Column(name, sa.BigInteger, nullable=True))
    op.add_column(_TABLE, sa.Column("room", sa.JSON, nullable=True))
    for name in ("device_us", "core_us"):
        op.add_column(_TABLE, sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
