"""The table of trainings from nothing, which are jobs; a row goes with that of its job."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table

from freehold.store.tables import metadata

training_jobs: Final = Table(
    "training_jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    *(
        Column(name, String(64), nullable=False)
        for name in ("organization_id", "project_id", "owner_id", "job_id", "key_id", "auth_method")
    ),
    Column("private", Boolean, nullable=False),
    Column("name", String(64), nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("data", String(4096), nullable=False),
    Column("out", String(4096), nullable=False),
    Column("needs", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    *(
        Column(name, Integer, nullable=False)
        for name in ("steps", "step", "stretch", "stretch_step", "crashes", "preemptions")
    ),
    *(Column(name, BigInteger, nullable=False) for name in ("tokens", "device_us", "core_us", "cost_micro")),
    Column("metrics", JSON, nullable=False),
    Column("room", JSON, nullable=True),
    Column("stretch_began_us", BigInteger, nullable=True),
    Column("stretch_seen_us", BigInteger, nullable=True),
    Column("order_id", String(128), nullable=False),
    Column("error_code", String(64), nullable=False),
    Column("error", String(2000), nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("ended_at", Integer, nullable=True),
    Index("ix_training_jobs_job_id", "job_id"),
    Index("ix_training_jobs_project_id", "project_id", "id"),
)
"""Trainings. Of the stretch at which one is, `stretch` is the number and `stretch_step` the step after which it began;
`room` is what it has meanwhile, and `stretch_seen_us` when it was last seen to run. `metrics` are those of the newest
step that is told, the sums those of the stretches that have ended; `crashes` counts those in a row that brought no
step."""
