"""What the control plane works on."""

from dataclasses import dataclass

from freehold.api.door import People
from freehold.catalog.catalog import Catalog
from freehold.config import Settings
from freehold.content_filter.registry import FilterRegistry
from freehold.gateway.content_control import ContentControl
from freehold.gateway.control import DeploymentControl
from freehold.gateway.erasure import Erasure
from freehold.gateway.leases_view import Uses
from freehold.gateway.model_services import ModelServices
from freehold.gateway.presence import Presence
from freehold.governance.digests import Digests
from freehold.governance.limits import LimitRegistry
from freehold.governance.policies import PolicyRegistry
from freehold.journal.journal import Journal
from freehold.journal.projection_reports import UsageReports
from freehold.journal.verification import Verifier


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the control plane works on.

    Args:
        people: who there is, and who is let in.
        control: what is deployed.
        catalog: which models there are.
        limits: what callers may use; `ledger` is what they have used of it.
        policies: which requests are allowed.
        filters: what is looked for in texts.
        journal: where every action is recorded.
        reports: usage and costs.
        digests: the names of end users.
        content: keys and retention of kept content.
        erasure: erases users and projects.
        models: where models come from, and when a deployment may change to one.
        verifier: says whether the journal is what was written.
        presence: of this server among the gateways of its database.
        settings: the configuration.
    """

    people: People
    control: DeploymentControl
    catalog: Catalog
    limits: LimitRegistry
    uses: Uses
    policies: PolicyRegistry
    filters: FilterRegistry
    journal: Journal
    reports: UsageReports
    digests: Digests
    content: ContentControl
    erasure: Erasure
    models: ModelServices
    verifier: Verifier
    presence: Presence
    settings: Settings
