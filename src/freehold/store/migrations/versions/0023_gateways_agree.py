"""Which gateway answers an `Idempotency-Key`, and which responses are to be stopped by the one that makes them."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and add the column; no key is being answered, and nothing is to be stopped."""
    op.create_table(
        "answer_claims",
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("key_digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("body_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("claim", sa.String(64), nullable=False),
    )
    op.create_index("ix_answer_claims_gateway", "answer_claims", ["gateway"])
    op.create_index("ix_answer_claims_claim", "answer_claims", ["claim"])
    op.add_column("kept_responses", sa.Column("cancelling", sa.Boolean, nullable=False, server_default=sa.false()))
    is_open = sa.text("status IN ('queued', 'in_progress')")
    op.create_index(
        "ix_kept_responses_open", "kept_responses", ["gateway"], sqlite_where=is_open, postgresql_where=is_open
    )
