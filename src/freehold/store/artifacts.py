"""The table of artifacts: each is written once, after its record in the journal, and never changed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, or_, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.artifact_tables import artifact_parents, artifacts
from freehold.store.database import Database
from freehold.types.lineage import Artifact, ArtifactKind


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at artifacts: those of its project are there for it, and those of the home.

    Args:
        organization_id: whose member it is.
        project_id: an empty one stands for all projects of the organization.
    """

    organization_id: str
    project_id: str = ""


@dataclass(frozen=True, slots=True)
class RecordedArtifact:
    """An artifact and where in the journal its record stands: number, segment and the byte in that; whose journal."""

    artifact: Artifact
    seq: int
    segment: int
    offset: int
    writer: str = "main"


def artifact_id(artifact: Artifact) -> str:
    """What an artifact is known by: its digest, kind and name, and whose it is."""
    key = [artifact.organization_id, artifact.project_id, artifact.kind.value, artifact.digest, artifact.name]
    return hashlib.sha256(json.dumps(key, separators=(",", ":")).encode()).hexdigest()


async def add_artifact(database: Database, recorded: RecordedArtifact) -> None:
    """Write down an artifact that is not there yet; what another gateway has written meanwhile stays."""
    artifact = recorded.artifact
    values: dict[str, Any] = {
        "id": artifact_id(artifact),
        "digest": artifact.digest,
        "kind": artifact.kind.value,
        "name": artifact.name,
        "organization_id": artifact.organization_id,
        "project_id": artifact.project_id,
        "facts": dict(artifact.facts),
        "created_at": artifact.created_at,
        "seq": recorded.seq,
        "segment": recorded.segment,
        "offset": recorded.offset,
        "writer": recorded.writer,
    }
    parents = [
        {"artifact_id": values["id"], "number": number, "parent": parent}
        for number, parent in enumerate(artifact.parents)
    ]
    async with database.write() as connection:
        added = await connection.execute(insert(artifacts).values(values).on_conflict_do_nothing())
        if parents and added.rowcount:
            await connection.execute(insert(artifact_parents), parents)


async def has_artifact(database: Database, artifact: Artifact) -> bool:
    """Whether an artifact is written down."""
    query = select(artifacts.c.id).where(artifacts.c.id == artifact_id(artifact))
    async with database.read() as connection:
        return (await connection.execute(query)).first() is not None


async def find_artifacts(
    database: Database,
    viewer: Viewer | None,
    *,
    digests: Sequence[str] | None = None,
    name: str | None = None,
    kind: ArtifactKind | None = None,
) -> list[RecordedArtifact]:
    """The artifacts that a viewer may see, the newest first.

    Args:
        database: where they are.
        viewer: who looks; None is the service itself, which sees all.
        digests: with one of these digests.
        name: of this name.
        kind: of this kind.
    """
    chosen: list[ColumnElement[bool]] = [_seen(viewer)]
    if digests is not None:
        chosen.append(artifacts.c.digest.in_(digests))
    if name is not None:
        chosen.append(artifacts.c.name == name)
    if kind is not None:
        chosen.append(artifacts.c.kind == kind.value)
    async with database.read() as connection:
        return await _read(connection, and_(*chosen))


async def find_children(database: Database, viewer: Viewer | None, parent: str) -> list[RecordedArtifact]:
    """The artifacts that were made from one with that digest, as far as a viewer may see them, the newest first."""
    made = select(artifact_parents.c.artifact_id).where(artifact_parents.c.parent == parent)
    async with database.read() as connection:
        return await _read(connection, and_(_seen(viewer), artifacts.c.id.in_(made)))


async def _read(connection: AsyncConnection, chosen: ColumnElement[bool]) -> list[RecordedArtifact]:
    query = select(artifacts).where(chosen).order_by(artifacts.c.seq.desc())
    rows = (await connection.execute(query)).mappings().all()
    links = select(artifact_parents).where(artifact_parents.c.artifact_id.in_(select(artifacts.c.id).where(chosen)))
    parents: dict[str, list[str]] = {}
    for link in (await connection.execute(links.order_by(artifact_parents.c.number))).mappings():
        parents.setdefault(link["artifact_id"], []).append(link["parent"])
    return [_recorded(row, parents) for row in rows]


def _recorded(row: RowMapping, parents: Mapping[str, list[str]]) -> RecordedArtifact:
    artifact = Artifact(
        digest=row["digest"],
        kind=ArtifactKind(row["kind"]),
        name=row["name"],
        parents=tuple(parents.get(row["id"], ())),
        organization_id=row["organization_id"],
        project_id=row["project_id"],
        facts=row["facts"],
        created_at=row["created_at"],
    )
    return RecordedArtifact(artifact, row["seq"], row["segment"], row["offset"], row["writer"])


def _seen(viewer: Viewer | None) -> ColumnElement[bool]:
    """What a viewer may see: the home's, and its own."""
    if viewer is None:
        return true()
    own = artifacts.c.organization_id == viewer.organization_id
    if viewer.project_id:
        own = and_(own, artifacts.c.project_id == viewer.project_id)
    return or_(artifacts.c.organization_id == "", own)
