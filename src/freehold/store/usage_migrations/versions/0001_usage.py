"""The first tables: a row for each receipt, sums by hour and by day, how far the journal is read."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEYS = (
    "organization_id",
    "project_id",
    "key_id",
    "principal",
    "deployment",
    "model",
    "route_kind",
    "service_tier",
    "outcome",
    "image_source",
    "image_size",
)
_SUMS = (
    "requests",
    "model_requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "cost_micro",
    "duration_us",
)


def _texts(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=nullable) for name in names]


def _integers(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=nullable) for name in names]


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "requests",
        *_texts("writer"),
        *_integers("seq", "segment", "offset"),
        *_texts("request_id"),
        *_integers("started_at", "ended_at"),
        *_texts(*_KEYS),
        *_integers(*_SUMS),
        *_texts("end_user", "route", "dialect"),
        *_integers("status", "attempt"),
        *_texts(
            "error_code",
            "finish_reason",
            "auth_method",
            "requested",
            "spilled_from",
            "engine",
            "replica",
            nullable=True,
        ),
        sa.Column("estimated", sa.Boolean, nullable=False),
        *_integers("first_token_us", "per_token_us", nullable=True),
        *_texts("price_version", nullable=True),
        *_integers("excess_micro"),
        *_texts("replay_of", nullable=True),
        sa.PrimaryKeyConstraint("writer", "seq", name="pk_requests"),
    )
    op.create_index("uq_requests_request_id", "requests", ["request_id"], unique=True)
    op.create_index("ix_requests_started_at", "requests", ["started_at"])
    for name in ("project_id", "key_id", "end_user", "deployment", "outcome"):
        op.create_index(f"ix_requests_{name}", "requests", [name, "started_at"])
    for table in ("usage_hourly", "usage_daily"):
        op.create_table(
            table,
            *_integers("started_at"),
            *_texts(*_KEYS),
            *_integers(*_SUMS),
            sa.PrimaryKeyConstraint("started_at", *_KEYS, name=f"pk_{table}"),
        )
        for name in ("project_id", "deployment"):
            op.create_index(f"ix_{table}_{name}", table, [name, "started_at"])
    op.create_table(
        "projection",
        *_texts("writer"),
        *_integers("segment", "offset", "seq", "last_segment", "last_offset"),
        *_texts("head"),
        sa.PrimaryKeyConstraint("writer"),
    )
