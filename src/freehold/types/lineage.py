"""Artifacts: what models are made of, and what is known of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ArtifactKind(StrEnum):
    """What an artifact is."""

    FILE = "file"
    """A file that a caller uploaded."""
    DATASET = "dataset"
    """A file as it was read for training or an evaluation: checked, line by line."""
    RECIPE = "recipe"
    """The numbers that a training or an evaluation was run with."""
    CODE = "code"
    """The version of Freehold, and of what it computes with."""
    CHECKPOINT = "checkpoint"
    EVALUATION = "evaluation"
    """The results of one run of an evaluation."""
    MODEL = "model"
    """The weights that are served."""
    PROMOTION = "promotion"
    """A decision on whether a deployment may change to another model, with what it rests on."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact. It holds no text of a caller but names; what may not be known is a digest.

    Args:
        digest: hex SHA-256 of its bytes or, where it is no file, of its canonical JSON.
        kind: what it is.
        name: as people know it: a file's id, a model's name, the id of a run.
        parents: the digests of what it was made from.
        organization_id: whose it is; empty for what belongs to the home.
        project_id: likewise.
        facts: what else is known of it: ids, numbers, versions.
        created_at: seconds since the epoch.
    """

    digest: str
    kind: ArtifactKind
    name: str
    parents: tuple[str, ...] = ()
    organization_id: str = ""
    project_id: str = ""
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    created_at: int = 0

    def wire(self) -> dict[str, Any]:
        """The artifact as JSON values."""
        return {
            "object": "artifact",
            "digest": self.digest,
            "kind": self.kind.value,
            "name": self.name,
            "parents": list(self.parents),
            "facts": dict(self.facts),
            "created_at": self.created_at,
        }
