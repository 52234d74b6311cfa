"""Which stages a policy needs behind the detectors, cheapest first."""

from freehold.content_filter.base import Ask, Embed, Stage
from freehold.content_filter.guard import Guard
from freehold.types.content_filter import FilterSettings, Side


def stages_for(settings: FilterSettings, _side: Side, *, embed: Embed, ask: Ask) -> list[Stage]:
    """Those for one half of a request; both halves have the same.

    Args:
        settings: the policy.
        embed: gives sentence vectors.
        ask: asks a guard model.
    """
    del embed
    return [] if settings.guard is None else [Guard(settings.guard, ask)]
