"""Which detectors a policy needs, cheapest first."""

from collections.abc import Sequence

from freehold.content_filter.base import Detector
from freehold.content_filter.ngrams import NgramClassifier, load_classifier
from freehold.content_filter.shields import Shields
from freehold.types.content_filter import BlocklistSettings, Category, FilterSettings, Shield, Side


def detectors_for(
    settings: FilterSettings,
    lists: Sequence[BlocklistSettings],  # noqa: ARG001
    side: Side,
    classifier: NgramClassifier | None = None,
) -> list[Detector]:
    """Those for one half of a request.

    Args:
        settings: the policy.
        lists: the blocklists that hold.
        side: the half.
        classifier: judges the four categories; the shipped one without it.
    """
    found: list[Detector] = []
    wanted = frozenset(shield for shield in Shield if getattr(settings, shield.value) != "off")
    if wanted and side is Side.PROMPT:
        found.append(Shields(wanted))
    if any(settings.rule(category, side).action != "off" for category in Category):
        found.append(classifier or load_classifier())
    return found
