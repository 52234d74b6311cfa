"""Lineage: what models are made of, each part recorded in the journal before anybody relies on it.

An artifact's record is one of the journal's kind `admin` with the event `artifact.recorded`: in the hash chain, under
the signed checkpoints, provable alone. The table beside it only finds it.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from freehold.gateway.training_origin import stated_artifacts
from freehold.journal.recorder import Recorder
from freehold.journal.records import Kind
from freehold.store.artifacts import (
    RecordedArtifact,
    Viewer,
    add_artifact,
    find_artifacts,
    find_children,
    has_artifact,
)
from freehold.store.database import Database
from freehold.types.lineage import Artifact, ArtifactKind
from freehold.types.model import ModelEntry
from freehold.types.training_statement import TrainingStatement

EVENT: Final = "artifact.recorded"
JOB_SCHEME: Final = "job://"
"""The sources of models that were trained here begin with it; the job records those itself, with all parents."""
MAX_NODES: Final = 1000
"""So many artifacts a tree has at most."""

_JUDGEMENTS: Final = frozenset({ArtifactKind.EVALUATION, ArtifactKind.PROMOTION})
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Node:
    """One place in a tree of artifacts.

    Args:
        digest: of what stands here.
        recorded: the artifact; None where none of that digest is recorded, or none that the viewer may see.
        also: other artifacts of the same bytes, such as the file that a dataset is.
        parents: what all of them were made from. Empty where it stands in the tree already (`again`).
        derived: the evaluations of it, and the promotions; of models only.
        again: whether its parents are told at another place of the tree.
    """

    digest: str
    recorded: RecordedArtifact | None
    also: tuple[RecordedArtifact, ...] = ()
    parents: tuple["Node", ...] = ()
    derived: tuple["Node", ...] = ()
    again: bool = False


class Lineage:
    """Records artifacts and finds them again.

    Args:
        database: where they can be found.
        journal: where each is recorded.
    """

    def __init__(self, database: Database, journal: Recorder) -> None:
        self._database = database
        self._journal = journal
        self._recording = asyncio.Lock()
        self._listeners: list[Callable[[], Awaitable[None]]] = []

    def on_model(self, listener: Callable[[], Awaitable[None]]) -> None:
        """Have something done each time that a model was recorded."""
        self._listeners.append(listener)

    async def record(self, artifact: Artifact) -> None:
        """Record an artifact; nothing happens if it is recorded under its digest, kind, name and project.

        Its record is in the journal, on the disk, when this returns. Record parents before what is made from them, and
        all of them with it: what is recorded is never changed.

        Raises:
            AuditUnavailable: it cannot be recorded now.
            ValueError: a digest is none.
        """
        _check(artifact)
        artifact = replace(artifact, created_at=artifact.created_at or int(time.time()))
        async with self._recording:
            if await has_artifact(self._database, artifact):
                return
            position = await self._journal.submit(Kind.ADMIN, body_of(artifact), durable=True)
            recorded = RecordedArtifact(
                artifact, position.seq, position.segment, position.offset, self._database.gateway or "main"
            )
            await add_artifact(self._database, recorded)
        if artifact.kind is ArtifactKind.MODEL:
            for listener in self._listeners:
                await listener()

    async def record_model(self, entry: ModelEntry) -> None:
        """Record a model of the catalog that was pulled: its weights, and what they were converted and trained from.

        Raises:
            AuditUnavailable: it cannot be recorded now.
        """
        if entry.source.startswith(JOB_SCHEME):
            return
        made_from = await self._record_training(entry)
        converted = entry.source_sha256 != entry.sha256
        facts: dict[str, str | int | float] = {"source": entry.source, "format": entry.format}
        if converted:
            fetched = dict(facts, sha256=entry.source_sha256)
            await self.record(Artifact(entry.source_sha256, ArtifactKind.FILE, entry.source, made_from, facts=fetched))
        facts |= {"source_sha256": entry.source_sha256, "size_bytes": entry.size_bytes}
        facts |= {name: value for name in ("licence", "pinned") if (value := entry.details.get(name)) is not None}
        parents = (entry.source_sha256,) if converted else made_from
        await self.record(Artifact(entry.sha256, ArtifactKind.MODEL, entry.name, parents, facts=facts))

    async def _record_training(self, entry: ModelEntry) -> tuple[str, ...]:
        """Record what a model's folder states of its training; the digest of the checkpoint, if it states anything."""
        if "training" not in entry.details:
            return ()
        artifacts = stated_artifacts(TrainingStatement.model_validate(entry.details["training"]))
        for artifact in artifacts:
            await self.record(artifact)
        return (artifacts[-1].digest,)

    async def get(self, digest: str, viewer: Viewer | None = None) -> Artifact | None:
        """The artifact with that digest, the newest if there are several; None if there is none for the viewer."""
        found = await self.find(digest, viewer)
        return found.artifact if found else None

    async def of_model(self, name: str, viewer: Viewer | None = None) -> Artifact | None:
        """The model of that name, the newest if there are several; None if none is recorded."""
        found = await find_artifacts(self._database, viewer, name=name, kind=ArtifactKind.MODEL)
        return found[0].artifact if found else None

    async def of_run(self, run_id: str) -> Artifact | None:
        """The results of a run of an evaluation; None if none are recorded."""
        found = await find_artifacts(self._database, None, name=run_id, kind=ArtifactKind.EVALUATION)
        return found[0].artifact if found else None

    async def facts_of(self, decision: str, name: str) -> list[str]:
        """A fact of every decision of that name, such as `promoted`."""
        found = await find_artifacts(self._database, None, kind=ArtifactKind.PROMOTION)
        facts = [each.artifact.facts for each in found]
        return [str(fact[name]) for fact in facts if fact.get("decision") == decision and name in fact]

    async def of_digests(self, digests: Sequence[str]) -> list[Artifact]:
        """Every artifact with one of these digests, whosever it is."""
        return [found.artifact for found in await find_artifacts(self._database, None, digests=digests)]

    async def find(self, digest: str, viewer: Viewer | None = None) -> RecordedArtifact | None:
        """As `get`, with where it is recorded."""
        found = await find_artifacts(self._database, viewer, digests=[digest])
        return found[0] if found else None

    async def tree(self, digest: str, viewer: Viewer | None = None) -> Node:
        """What stands behind the artifact with that digest, back to the data, as far as the viewer may see it."""
        return await self._node(digest, viewer, set())

    async def _node(self, digest: str, viewer: Viewer | None, told: set[str]) -> Node:
        found = await find_artifacts(self._database, viewer, digests=[digest])
        if not found or digest in told or len(told) >= MAX_NODES:
            return Node(digest, found[0] if found else None, again=bool(found))
        told.add(digest)
        from_what = dict.fromkeys(parent for each in found for parent in each.artifact.parents if parent != digest)
        parents = [await self._node(parent, viewer, told) for parent in from_what]
        derived: list[Node] = []
        if any(each.artifact.kind is ArtifactKind.MODEL for each in found):
            children = await find_children(self._database, viewer, digest)
            judged = [child.artifact.digest for child in children if child.artifact.kind in _JUDGEMENTS]
            derived = [await self._node(child, viewer, told) for child in judged]
        return Node(digest, found[0], tuple(found[1:]), tuple(parents), tuple(derived))


def body_of(artifact: Artifact) -> dict[str, Any]:
    """What the journal says of an artifact."""
    return {
        "event": EVENT,
        "organization_id": artifact.organization_id or None,
        "resource_type": "artifact",
        "resource_id": artifact.digest,
        "resource_project_id": artifact.project_id or None,
        "details": {
            "kind": artifact.kind.value,
            "name": artifact.name,
            "parents": list(artifact.parents),
            "facts": exact(artifact.facts),
        },
    }


def exact(facts: Mapping[str, str | int | float]) -> dict[str, str | int]:
    """Facts as the journal has them, in which fractions are text."""
    return {name: repr(value) if isinstance(value, float) else value for name, value in facts.items()}


def _check(artifact: Artifact) -> None:
    for digest in (artifact.digest, *artifact.parents):
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"a digest is 64 lower-case hex digits, not {digest[:80]!r}")
