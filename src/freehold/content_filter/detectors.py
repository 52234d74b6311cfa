"""Which detectors a policy needs, cheapest first."""

from collections.abc import Sequence

from freehold.content_filter.base import Detector
from freehold.types.content_filter import BlocklistSettings, FilterSettings, Side


def detectors_for(settings: FilterSettings, lists: Sequence[BlocklistSettings], side: Side) -> list[Detector]:
    """Those for one half of a request."""
    return []
