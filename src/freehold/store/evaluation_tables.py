"""The tables of evaluations, their runs and what became of each item. What callers wrote is ciphertext."""

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Index, Integer, LargeBinary, String, Table

from freehold.store.tables import metadata


def _owned() -> tuple[Column[str], ...]:
    return (
        Column("organization_id", String(64), nullable=False),
        Column("project_id", String(64), nullable=False),
        Column("owner_id", String(64), nullable=False),
    )


kept_evals: Final = Table(
    "kept_evals",
    metadata,
    Column("id", String(64), primary_key=True),
    *_owned(),
    Column("private", Boolean, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
    Index("ix_kept_evals_project_id", "project_id", "id"),
)
"""Evaluations. `header` is all that their callers said of them."""

kept_eval_runs: Final = Table(
    "kept_eval_runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("eval_id", String(64), nullable=False),
    *_owned(),
    Column("private", Boolean, nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("auth_method", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("model", String(256), nullable=False),
    Column("deployment", String(128), nullable=False),
    Column("catalog_model", String(256), nullable=False),
    Column("total", Integer, nullable=False),
    Column("passed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("errored", Integer, nullable=False),
    Column("tally", JSON, nullable=False),
    Column("usage", JSON, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("plan", LargeBinary, nullable=False),
    Column("problem", LargeBinary, nullable=False),
    Column("started_at", Integer, nullable=True),
    Column("ended_at", Integer, nullable=True),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
    Index("ix_kept_eval_runs_eval_id", "eval_id", "id"),
    Index("ix_kept_eval_runs_project_id", "project_id", "status"),
)
"""Runs. `model` is what the caller named, `deployment` and `catalog_model` what that stood for; `tally` has for each
criterion how often it was passed and failed, `usage` for each model its calls and tokens. `header` is what the caller
said of the run, `plan` which stored completions it is about, `problem` why it failed."""

kept_eval_items: Final = Table(
    "kept_eval_items",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    *_owned(),
    Column("status", String(8), nullable=False),
    Column("scores", JSON, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
    Index("ix_kept_eval_items_project_id", "project_id"),
)
"""What became of each item. `scores` has a number from 0 to 1 for each criterion, or null; `content` all that was
asked, answered and said of it."""
