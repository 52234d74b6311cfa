"""What there is to models beside their weights: where they come from, and when a deployment may change to one."""

from dataclasses import dataclass

from freehold.gateway.lineage import Lineage
from freehold.gateway.origins import Origins
from freehold.gateway.promotion import Promotions


@dataclass(frozen=True, slots=True)
class ModelServices:
    """The services on models.

    Args:
        lineage: what they are made of.
        origins: whether where they come from is recorded.
        promotions: decides on changes of deployments' models.
    """

    lineage: Lineage
    origins: Origins
    promotions: Promotions
