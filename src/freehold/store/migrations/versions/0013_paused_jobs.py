"""Jobs that are paused, and that callers find by what they are about."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; the jobs there are, are of batches."""
    op.add_column("jobs", sa.Column("subject", sa.String(64), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("private", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("jobs", sa.Column("pausing", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("ix_jobs_subject", "jobs", ["subject"])
    jobs = sa.table("jobs", sa.column("id"), sa.column("subject"), sa.column("private"))
    batches = sa.table("kept_batches", sa.column("id"), sa.column("job_id"), sa.column("private"))
    of_job = batches.c.job_id == jobs.c.id
    values = {
        name: sa.select(column).where(of_job).scalar_subquery()
        for name, column in (("subject", batches.c.id), ("private", batches.c.private))
    }
    op.execute(sa.update(jobs).where(sa.exists().where(of_job)).values(values))
