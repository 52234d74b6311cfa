"""The tables of jobs, and of batches, which are jobs whose content is kept: what callers wrote is ciphertext."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table

from freehold.store.tables import metadata

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False, index=True),
    Column("owner_id", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("private", Boolean, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("cancelling", Boolean, nullable=False),
    Column("pausing", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("worker", String(64), nullable=False),
    Column("token", Integer, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("stage", String(16), nullable=False, server_default=""),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("error_code", String(64), nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("started_at", Integer, nullable=True),
    Column("finished_at", Integer, nullable=True),
    Index("ix_jobs_state", "state", "priority", "id"),
)
"""Work that outlives a request. It holds ids and numbers, and nothing that a caller wrote."""

job_events: Final = Table(
    "job_events",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("created_at", Integer, nullable=False),
    Column("event", String(32), nullable=False),
    Column("detail", String(200), nullable=False),
)
"""What happened to jobs."""

kept_batches: Final = Table(
    "kept_batches",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("owner_id", String(64), nullable=False),
    Column("private", Boolean, nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("auth_method", String(64), nullable=False),
    Column("dialect", String(16), nullable=False),
    Column("endpoint", String(64), nullable=False),
    Column("input_file_id", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("model", String(128), nullable=False),
    Column("enqueued_tokens", BigInteger, nullable=False),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("output_file_id", String(64), nullable=False),
    Column("error_file_id", String(64), nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("problems", LargeBinary, nullable=False),
    Column("ends_at", Integer, nullable=False),
    Column("in_progress_at", Integer, nullable=True),
    Column("finalizing_at", Integer, nullable=True),
    Column("cancelling_at", Integer, nullable=True),
    Column("ended_at", Integer, nullable=True),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
    Index("ix_kept_batches_project_id", "project_id", "id"),
)
"""Batches. `header` is what the caller said of it, `problems` what is wrong with its input, both encrypted under the
owner's key; `ended_at` is when it came into the last state that it has."""

kept_batch_results: Final = Table(
    "kept_batch_results",
    metadata,
    Column("batch_id", String(64), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False, index=True),
    Column("owner_id", String(64), nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("size", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
)
"""What became of the lines of a batch until its files are made: `content` is a line of one of them, encrypted."""
