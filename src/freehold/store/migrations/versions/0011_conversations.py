"""Conversations, responses and stored completions."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _holder("kept_conversations")
    _items("kept_conversation_items")
    _holder(
        "kept_responses",
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("background", sa.Boolean, nullable=False),
    )
    _items("kept_response_items")
    _kept(
        "kept_response_events",
        sa.Column("holder_id", sa.String(64), primary_key=True),
        sa.Column("first", sa.Integer, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    _holder("kept_completions", sa.Column("model", sa.String(128), nullable=False))
    _items("kept_completion_messages")
    _kept(
        "kept_completion_labels",
        sa.Column("holder_id", sa.String(64), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    )
    op.create_index("ix_kept_completion_labels_digest", "kept_completion_labels", ["digest"])


def _kept(name: str, *columns: sa.schema.SchemaItem, order: tuple[str, ...] = ()) -> None:
    """A table of kept content."""
    op.create_table(
        name,
        *columns,
        sa.Column("organization_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("owner_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer, nullable=False),
    )
    op.create_index(f"ix_{name}_project_id", name, ["project_id", *order])
    op.create_index(f"ix_{name}_expires_at", name, ["expires_at"])


def _holder(name: str, *columns: sa.schema.SchemaItem) -> None:
    """A table of things that have items."""
    _kept(
        name,
        sa.Column("id", sa.String(64), primary_key=True),
        *columns,
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        order=("id",),
    )
    op.create_index(f"ix_{name}_owner_id", name, ["project_id", "owner_id", "id"])


def _items(name: str) -> None:
    """A table of items."""
    _kept(
        name,
        sa.Column("holder_id", sa.String(64), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("side", sa.String(8), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("holder_id", "id", name=f"uq_{name}_holder_id"),
    )
    op.create_index(f"ix_{name}_id", name, ["id"])
