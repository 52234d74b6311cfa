"""The tables of artifacts: what models are made of, and where in the journal that is said."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Integer, String, Table

from freehold.store.tables import metadata

artifacts: Final = Table(
    "artifacts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("digest", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(2048), nullable=False, index=True),
    Column("organization_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("writer", String(64), nullable=False, server_default="main"),
)
"""Ids, digests and numbers; nothing that a caller wrote but names. `id` is the digest of whose artifact it is, its
kind, digest and name; the last four columns are where its record stands in the journal. An empty `organization_id` is
what belongs to the home."""

artifact_parents: Final = Table(
    "artifact_parents",
    metadata,
    Column("artifact_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("parent", String(64), nullable=False, index=True),
)
"""The digests of what artifacts were made from, in order."""
