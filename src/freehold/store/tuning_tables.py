"""The tables of fine-tuning jobs, which are jobs whose content is kept: what callers wrote is ciphertext."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table

from freehold.store.tables import metadata

kept_tuning_jobs: Final = Table(
    "kept_tuning_jobs",
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
    Column("model", String(256), nullable=False),
    Column("method", String(16), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("export", String(16), nullable=False),
    Column("training_file", String(64), nullable=False),
    Column("validation_file", String(64), nullable=False),
    Column("status", String(32), nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("error", LargeBinary, nullable=False),
    Column("resolved", JSON, nullable=False),
    Column("fine_tuned_model", String(256), nullable=False),
    Column("result_files", JSON, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("charged_tokens", BigInteger, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("estimated_finish", Integer, nullable=True),
    Column("ended_at", Integer, nullable=True),
    Column("stage", String(16), nullable=False, server_default=""),
    *(Column(name, Integer, nullable=False, server_default="0") for name in ("preemptions", "stretch", "stretch_step")),
    *(Column(name, BigInteger, nullable=True) for name in ("stretch_began_us", "stretch_seen_us")),
    Column("room", JSON, nullable=True),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("device_us", "core_us")),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
    Index("ix_kept_tuning_jobs_project_id", "project_id", "id"),
)
"""Fine-tuning jobs. `header` is what the caller said of it, `error` why it failed, both encrypted under the owner's
key; `resolved` are the hyperparameters as numbers; `crashes` counts those since the newest checkpoint. The columns of
stretches and `room` are as those of `freehold.store.training_tables`."""

kept_tuning_events: Final = Table(
    "kept_tuning_events",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tuning_id", String(64), nullable=False),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False, index=True),
    Column("owner_id", String(64), nullable=False),
    Column("level", String(8), nullable=False),
    Column("type", String(16), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
    Index("ix_kept_tuning_events_tuning_id", "tuning_id", "id"),
)
"""What happened to them; `content` is what is told, encrypted."""

kept_tuning_checkpoints: Final = Table(
    "kept_tuning_checkpoints",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tuning_id", String(64), nullable=False),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False, index=True),
    Column("owner_id", String(64), nullable=False),
    Column("step", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("model", String(256), nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False, index=True),
    Index("ix_kept_tuning_checkpoints_tuning_id", "tuning_id", "step", unique=True),
)
"""The state of a model on its way, by the step after which it was saved."""
