"""Stretches of trainings. No journal has any from before, so there is nothing to bring in."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLE = "training_stretches"
_TEXTS = ("organization_id", "project_id", "principal", "key_id", "name", "outcome", "device_kind")
_NUMBERS = ("processes", "devices", "core_milli", "memory_bytes", "step_from", "step_to")
_SUMS = ("duration_us", "device_us", "core_us", "tokens", "cost_micro")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        _TABLE,
        sa.Column("writer", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("seq", "segment", "offset")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("stretch_id", "training")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("started_at", "ended_at")),
        *(sa.Column(name, sa.Text, nullable=False) for name in _TEXTS),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in (*_NUMBERS, *_SUMS)),
        sa.PrimaryKeyConstraint("writer", "seq", name="pk_training_stretches"),
    )
    op.create_index("uq_training_stretches_stretch_id", _TABLE, ["stretch_id"], unique=True)
    op.create_index("ix_training_stretches_started_at", _TABLE, ["started_at"])
