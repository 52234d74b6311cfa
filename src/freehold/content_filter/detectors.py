"""Which detectors a policy needs, cheapest first."""

from collections.abc import Sequence
from functools import lru_cache

from freehold.content_filter.base import Detector
from freehold.content_filter.blocklists import Blocklists
from freehold.content_filter.ngrams import NgramClassifier, load_classifier
from freehold.content_filter.personal_data import PersonalDataDetector
from freehold.content_filter.secrets import SecretDetector
from freehold.content_filter.shields import Shields
from freehold.types.content_filter import BlocklistSettings, Category, FilterSettings, Shield, Side


def detectors_for(
    settings: FilterSettings,
    lists: Sequence[BlocklistSettings],
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
    if any(each.items for each in lists):
        found.append(_blocklists(tuple(lists)))
    if getattr(settings.secrets, side.value) != "off":
        found.append(SecretDetector())
    if getattr(settings.personal_data, side.value) != "off":
        found.append(PersonalDataDetector(frozenset(settings.personal_data.kinds)))
    wanted = frozenset(shield for shield in Shield if getattr(settings, shield.value) != "off")
    if wanted and side is Side.PROMPT:
        found.append(Shields(wanted))
    if any(settings.rule(category, side).action != "off" for category in Category):
        found.append(classifier or load_classifier())
    return found


@lru_cache(maxsize=32)
def _blocklists(lists: tuple[BlocklistSettings, ...]) -> Blocklists:
    """The detector of some lists: the same for both halves of a request, and for every project that has no more."""
    return Blocklists(lists)
