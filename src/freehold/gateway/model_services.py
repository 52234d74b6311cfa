"""What there is to models beside their weights: where they come from, and when a deployment may change to one."""

from dataclasses import dataclass

from freehold.gateway.canary import Canaries
from freehold.gateway.canary_control import CanaryControl
from freehold.gateway.control import DeploymentControl
from freehold.gateway.lineage import Lineage
from freehold.gateway.origins import Origins
from freehold.gateway.promotion import Promotions
from freehold.gateway.versions import Upgrades, Versions


@dataclass(frozen=True, slots=True)
class ModelServices:
    """The services on models.

    Args:
        lineage: what they are made of.
        origins: whether where they come from is recorded.
        promotions: decides on changes of deployments' models.
        control: changes deployments.
        canaries: gives candidates a share of the requests.
        canary_control: begins and ends that.
        versions: knows families of models and their retirement.
        upgrades: has deployments go over to other models.
    """

    lineage: Lineage
    origins: Origins
    promotions: Promotions
    control: DeploymentControl
    canaries: Canaries
    canary_control: CanaryControl
    versions: Versions
    upgrades: Upgrades
