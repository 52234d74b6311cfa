"""Which stages a policy needs behind the detectors, cheapest first."""

from freehold.content_filter.base import Ask, Embed, Stage
from freehold.content_filter.embedding import EmbeddingHead
from freehold.content_filter.guard import Guard
from freehold.content_filter.weights_file import WeightsFile
from freehold.types.content_filter import Category, FilterSettings, Side


def stages_for(
    settings: FilterSettings, side: Side, *, head: WeightsFile | None, embed: Embed, ask: Ask
) -> list[Stage]:
    """Those for one half of a request.

    Args:
        settings: the policy.
        side: the half.
        head: reads the vectors; None where the classifier in use has none.
        embed: gives vectors of the model that the head was trained for.
        ask: asks a guard model.
    """
    found: list[Stage] = []
    judged = any(settings.rule(category, side).action != "off" for category in Category)
    if judged and settings.embeddings and head is not None:
        found.append(EmbeddingHead(head, embed))
    if settings.guard is not None:
        found.append(Guard(settings.guard, ask))
    return found
