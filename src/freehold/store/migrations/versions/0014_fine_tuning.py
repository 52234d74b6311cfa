"""Fine-tuning jobs, their events and checkpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _jobs()
    _events()
    _checkpoints()


def _jobs() -> None:
    """The jobs."""
    op.create_table(
        "kept_tuning_jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organization_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("owner_id", sa.String(64), nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("auth_method", sa.String(64), nullable=False),
        sa.Column("dialect", sa.String(16), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("export", sa.String(16), nullable=False),
        sa.Column("training_file", sa.String(64), nullable=False),
        sa.Column("validation_file", sa.String(64), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("error", sa.LargeBinary, nullable=False),
        sa.Column("resolved", sa.JSON, nullable=False),
        sa.Column("fine_tuned_model", sa.String(256), nullable=False),
        sa.Column("result_files", sa.JSON, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("charged_tokens", sa.BigInteger, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("estimated_finish", sa.Integer, nullable=True),
        sa.Column("ended_at", sa.Integer, nullable=True),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
    )
    op.create_index("ix_kept_tuning_jobs_expires_at", "kept_tuning_jobs", ["expires_at"])
    op.create_index("ix_kept_tuning_jobs_project_id", "kept_tuning_jobs", ["project_id", "id"])


def _events() -> None:
    """What happened to them."""
    op.create_table(
        "kept_tuning_events",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tuning_id", sa.String(64), nullable=False),
        sa.Column("organization_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("owner_id", sa.String(64), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
    )
    op.create_index("ix_kept_tuning_events_project_id", "kept_tuning_events", ["project_id"])
    op.create_index("ix_kept_tuning_events_expires_at", "kept_tuning_events", ["expires_at"])
    op.create_index("ix_kept_tuning_events_tuning_id", "kept_tuning_events", ["tuning_id", "id"])


def _checkpoints() -> None:
    """The state of models on their way."""
    op.create_table(
        "kept_tuning_checkpoints",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tuning_id", sa.String(64), nullable=False),
        sa.Column("organization_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("owner_id", sa.String(64), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
    )
    op.create_index("ix_kept_tuning_checkpoints_project_id", "kept_tuning_checkpoints", ["project_id"])
    op.create_index("ix_kept_tuning_checkpoints_expires_at", "kept_tuning_checkpoints", ["expires_at"])
    op.create_index(
        "ix_kept_tuning_checkpoints_tuning_id", "kept_tuning_checkpoints", ["tuning_id", "step"], unique=True
    )
