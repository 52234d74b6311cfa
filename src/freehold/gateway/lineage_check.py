"""Verifying lineage: whether the bytes, the records in the journal and the signatures are what the artifacts say."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from freehold.catalog.catalog import Catalog
from freehold.errors import ContentUnreadable, JournalDamaged, ProjectKeyRevoked
from freehold.gateway.files import Files
from freehold.gateway.lineage import Node, body_of
from freehold.journal.journal import Journal
from freehold.journal.proofs import fault_of, prove
from freehold.journal.reader import read_line
from freehold.journal.records import Kind, plain
from freehold.store.artifacts import RecordedArtifact
from freehold.types.lineage import Artifact, ArtifactKind


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: with which artifact, and what."""

    digest: str
    name: str
    what: str


@dataclass(slots=True)
class Verified:
    """What was found, from the answer to the data.

    Args:
        artifacts: how many records were checked.
        read: of how many artifacts the bytes were read and are right.
        faults: what is wrong, the first thing first.
        notes: what could not be checked, and why.
    """

    artifacts: int = 0
    read: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def wire(self) -> dict[str, Any]:
        """The findings as JSON values."""
        faults = [{"digest": fault.digest, "name": fault.name, "what": fault.what} for fault in self.faults]
        return {
            "ok": not faults,
            "artifacts": self.artifacts,
            "read": self.read,
            "faults": faults,
            "notes": self.notes,
        }


class LineageCheck:
    """Checks trees of artifacts, one at a time: weights are large.

    Args:
        journal: where the artifacts are recorded.
        public_key: of the home, which signs the journal's checkpoints; 32 bytes.
        catalog: has the weights.
        files: has the files that callers uploaded.
    """

    def __init__(self, journal: Journal, public_key: bytes, catalog: Catalog, files: Files) -> None:
        self._journal = journal
        self._public_key = public_key
        self._catalog = catalog
        self._files = files
        self._turn = asyncio.Lock()

    async def verify(self, tree: Node | None, proof: Mapping[str, Any] | None = None) -> Verified:
        """Check every artifact of a tree, and the proof of the receipt that led to it.

        Raises:
            AuditUnavailable: the journal cannot be signed now.
            KeyServiceUnavailable: files cannot be decrypted now.
        """
        found = Verified()
        async with self._turn:
            await self._journal.checkpoint()
            if proof is not None and (what := fault_of(proof, self._public_key)):
                found.faults.append(Fault("", "receipt", what))
            for node in _walk(tree):
                if node.recorded is None:
                    found.faults.append(Fault(node.digest, "", "nothing is recorded with this digest"))
                    continue
                for recorded in (node.recorded, *node.also):
                    await self._check(recorded, found)
        return found

    async def _check(self, recorded: RecordedArtifact, found: Verified) -> None:
        found.artifacts += 1
        artifact = recorded.artifact
        here = self._journal.folder.name
        try:
            if recorded.writer != here:
                found.notes.append(f"{artifact.name}: recorded by the gateway '{recorded.writer}', which can prove it")
            what = await asyncio.to_thread(self._unproven, recorded) if recorded.writer == here else None
        except FileNotFoundError:
            found.notes.append(f"{artifact.name}: the segment {recorded.segment} of the journal was retired")
            what = None
        if what is None:
            what = await self._changed(artifact, found)
        if what is not None:
            found.faults.append(Fault(artifact.digest, artifact.name, what))

    def _unproven(self, recorded: RecordedArtifact) -> str | None:
        """What is wrong with an artifact's record. Blocks."""
        folder = self._journal.folder
        try:
            line = read_line(folder, recorded.segment, recorded.offset)
            proof = prove(folder, recorded.segment, recorded.offset)
        except JournalDamaged as exc:
            return f"its record {recorded.seq} in the journal is damaged: {exc.message}"
        if line.seq != recorded.seq or line.kind != Kind.ADMIN or line.body != plain(body_of(recorded.artifact)):
            return f"its record {recorded.seq} in the journal says something else than the database"
        if proof is None:
            return f"no checkpoint covers its record {recorded.seq} in the journal"
        return fault_of(proof, self._public_key)

    async def _changed(self, artifact: Artifact, found: Verified) -> str | None:
        """What is wrong with an artifact's bytes, where there are any on this machine."""
        try:
            now = await self._digest_of(artifact)
        except ContentUnreadable:
            return "its content cannot be decrypted: it was changed, or its key was destroyed"
        except ProjectKeyRevoked:
            found.notes.append(f"{artifact.name}: its project's key is revoked, so it cannot be read")
            return None
        if now is None:
            return None
        if now != artifact.digest:
            return f"its bytes have changed: their SHA-256 is {now}"
        found.read += 1
        return None

    async def _digest_of(self, artifact: Artifact) -> str | None:
        if artifact.kind is ArtifactKind.FILE and artifact.project_id:
            return await self._files.digest_of(artifact.organization_id, artifact.project_id, artifact.name)
        if artifact.kind in {ArtifactKind.MODEL, ArtifactKind.CHECKPOINT}:
            return await self._catalog.digest_of(artifact.digest)
        return None


def _walk(node: Node | None) -> Iterator[Node]:
    """The places of a tree, each artifact once, those nearest to the answer first."""
    waiting = [] if node is None else [node]
    while waiting:
        here = waiting.pop(0)
        if not here.again:
            yield here
            waiting.extend((*here.parents, *here.derived))
