"""Trainings from nothing as jobs, and what a job waits for in the hands of its worker."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_IDS = ("organization_id", "project_id", "owner_id", "job_id", "key_id", "auth_method")
_COUNTS = ("steps", "step", "stretch", "stretch_step", "crashes", "preemptions")
_SUMS = ("tokens", "device_us", "core_us", "cost_micro")


def upgrade() -> None:
    """Add the column, and create the table."""
    op.add_column("jobs", sa.Column("stage", sa.String(16), nullable=False, server_default=""))
    op.create_table(
        "training_jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        *(sa.Column(name, sa.String(64), nullable=False) for name in _IDS),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("data", sa.String(4096), nullable=False),
        sa.Column("out", sa.String(4096), nullable=False),
        sa.Column("needs", sa.JSON, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in _COUNTS),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("room", sa.JSON, nullable=True),
        sa.Column("stretch_began_us", sa.BigInteger, nullable=True),
        sa.Column("stretch_seen_us", sa.BigInteger, nullable=True),
        sa.Column("order_id", sa.String(128), nullable=False),
        sa.Column("error_code", sa.String(64), nullable=False),
        sa.Column("error", sa.String(2000), nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("ended_at", sa.Integer, nullable=True),
    )
    op.create_index("ix_training_jobs_job_id", "training_jobs", ["job_id"])
    op.create_index("ix_training_jobs_project_id", "training_jobs", ["project_id", "id"])
