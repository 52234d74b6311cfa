"""What callers can know of a deployment before they use it: what it does, how it fares and what it costs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from freehold.catalog.deployments import Deployment
from freehold.engines.registry import get_engine
from freehold.gateway.permits import Permits
from freehold.serving.lender import Lender
from freehold.types.engine import Feature, Traits
from freehold.types.identity import Principal
from freehold.types.images import DEFAULT_MODEL
from freehold.types.price import Price

UNKNOWN: Final = Traits(frozenset())
_OPERATIONS: Final[Mapping[Feature, str]] = {
    Feature.CHAT: "chat.completions",
    Feature.COMPLETION: "completions",
    Feature.EMBEDDINGS: "embeddings",
    Feature.IMAGES: "images.generations",
    Feature.IMAGE_EDITS: "images.edits",
    Feature.IMAGE_VARIATIONS: "images.variations",
}
"""What an engine must be able to do for each operation on a model."""
_OF_TASK: Final[Mapping[str, frozenset[Feature]]] = {
    "chat": frozenset({Feature.CHAT, Feature.COMPLETION}),
    "embeddings": frozenset({Feature.EMBEDDINGS}),
    "images": frozenset({Feature.IMAGES, Feature.IMAGE_EDITS, Feature.IMAGE_VARIATIONS}),
}


@dataclass(frozen=True, slots=True)
class ModelDetail:
    """One deployment, as its callers see it.

    Args:
        deployment: what they name.
        state: of its replicas, as administrators see it.
        traits: what its engine is; without a feature where that is not known before it was ready once.
        operations: what can be asked of it.
        is_default: whether it is the one for its task where nobody has chosen another.
        price: that is in force; None where it has none.
    """

    deployment: Deployment
    state: str
    traits: Traits
    operations: tuple[str, ...]
    is_default: bool
    price: Price | None


class ModelDetails:
    """Tells of deployments.

    Args:
        supervisor: runs them.
        permits: what policies make of them.
        clock: seconds since the epoch.
    """

    def __init__(self, supervisor: Lender, permits: Permits, *, clock: Callable[[], float] = time.time) -> None:
        self._supervisor = supervisor
        self._permits = permits
        self._clock = clock

    def of(self, principal: Principal, deployment: Deployment, visible: Sequence[Deployment]) -> ModelDetail:
        """What there is to know of a deployment; loads nothing.

        Args:
            principal: who asks.
            deployment: which one.
            visible: all that the caller may see, of which the first of a task is its default; for pictures the one
                that a request is for which names no model.
        """
        settings = deployment.settings
        there = deployment.name in self._supervisor.names()
        status = self._supervisor.status(deployment.name) if there else None
        known = (status.traits if status else None) or get_engine(settings.engine).expected(settings) or UNKNOWN
        traits = self._permits.narrowed(principal, deployment, known)
        does = traits.features & _OF_TASK[settings.task]
        same = [each for each in visible if each.settings.task == settings.task]
        first = next((each for each in same if DEFAULT_MODEL in (each.name, *each.settings.aliases)), same[0])
        return ModelDetail(
            deployment,
            status.state if status else "unknown",
            traits,
            tuple(operation for feature, operation in _OPERATIONS.items() if feature in does),
            first.name == deployment.name,
            settings.price_at(self._clock()) if settings.price else None,
        )
