"""Evaluations, their runs, and what became of each item."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _evals()
    _runs()
    _items()


def _owned() -> tuple[sa.Column[str], ...]:
    return (
        sa.Column("organization_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("owner_id", sa.String(64), nullable=False),
    )


def _evals() -> None:
    """Evaluations."""
    op.create_table(
        "kept_evals",
        sa.Column("id", sa.String(64), primary_key=True),
        *_owned(),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("updated_at", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
    )
    op.create_index("ix_kept_evals_expires_at", "kept_evals", ["expires_at"])
    op.create_index("ix_kept_evals_project_id", "kept_evals", ["project_id", "id"])


def _runs() -> None:
    """Runs."""
    op.create_table(
        "kept_eval_runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("eval_id", sa.String(64), nullable=False),
        *_owned(),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("auth_method", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("deployment", sa.String(128), nullable=False),
        sa.Column("catalog_model", sa.String(256), nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("passed", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("errored", sa.Integer, nullable=False),
        sa.Column("tally", sa.JSON, nullable=False),
        sa.Column("usage", sa.JSON, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("plan", sa.LargeBinary, nullable=False),
        sa.Column("problem", sa.LargeBinary, nullable=False),
        sa.Column("started_at", sa.Integer, nullable=True),
        sa.Column("ended_at", sa.Integer, nullable=True),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
    )
    op.create_index("ix_kept_eval_runs_expires_at", "kept_eval_runs", ["expires_at"])
    op.create_index("ix_kept_eval_runs_eval_id", "kept_eval_runs", ["eval_id", "id"])
    op.create_index("ix_kept_eval_runs_project_id", "kept_eval_runs", ["project_id", "status"])


def _items() -> None:
    """Items."""
    op.create_table(
        "kept_eval_items",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        *_owned(),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("scores", sa.JSON, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
    )
    op.create_index("ix_kept_eval_items_expires_at", "kept_eval_items", ["expires_at"])
    op.create_index("ix_kept_eval_items_project_id", "kept_eval_items", ["project_id"])
