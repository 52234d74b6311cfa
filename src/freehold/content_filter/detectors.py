"""Which detectors a policy needs, cheapest first."""

from collections.abc import Sequence

from freehold.content_filter.base import Detector
from freehold.content_filter.blocklists import Blocklists
from freehold.types.content_filter import BlocklistSettings, FilterSettings, Side


def detectors_for(settings: FilterSettings, lists: Sequence[BlocklistSettings], side: Side) -> list[Detector]:  # noqa: ARG001
    """Those for one half of a request."""
    found: list[Detector] = []
    if any(each.items for each in lists):
        found.append(Blocklists(lists))
    return found
