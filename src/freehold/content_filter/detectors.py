"""Which detectors a policy needs, cheapest first."""

from collections.abc import Sequence

from freehold.content_filter.base import Detector
from freehold.content_filter.personal_data import PersonalDataDetector
from freehold.content_filter.secrets import SecretDetector
from freehold.types.content_filter import BlocklistSettings, FilterSettings, Side


def detectors_for(settings: FilterSettings, lists: Sequence[BlocklistSettings], side: Side) -> list[Detector]:  # noqa: ARG001  # blocklists come with their own detector
    """Those for one half of a request."""
    detectors: list[Detector] = []
    if getattr(settings.secrets, side.value) != "off":
        detectors.append(SecretDetector())
    if getattr(settings.personal_data, side.value) != "off":
        detectors.append(PersonalDataDetector(frozenset(settings.personal_data.kinds)))
    return detectors
