"""The control plane of the application, put together: what `freehold.app` hands to its routes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from freehold.api.admin.services import AdminServices
from freehold.api.door import People
from freehold.app_parts import open_erasure
from freehold.app_records import Records
from freehold.catalog.catalog import Catalog
from freehold.config import Settings
from freehold.content_filter.registry import FilterRegistry
from freehold.gateway.content import Content
from freehold.gateway.content_control import ContentControl
from freehold.gateway.leases_view import Uses
from freehold.gateway.model_services import ModelServices
from freehold.governance.limits import LimitRegistry
from freehold.governance.policies import PolicyRegistry
from freehold.journal.projection_reports import UsageReports


@dataclass(frozen=True, slots=True)
class Governed:
    """What requests are held to.

    Args:
        limits: what callers may use; `uses` is what they have used of it.
        policies: which requests are allowed.
        filters: what is looked for in texts.
    """

    limits: LimitRegistry
    uses: Uses
    policies: PolicyRegistry
    filters: FilterRegistry


def open_administration(
    records: Records,
    people: People,
    content: Content,
    catalog: Catalog,
    models: ModelServices,
    governed: Governed,
    reports: UsageReports,
    end_jobs: Callable[[str | None], Awaitable[object]],
    settings: Settings,
) -> AdminServices:
    """What the control plane works on; `end_jobs` ends the jobs of a project that is erased."""
    control = models.control
    return AdminServices(
        people,
        control,
        catalog,
        governed.limits,
        governed.uses,
        governed.policies,
        governed.filters,
        records.journal,
        reports,
        records.digests,
        ContentControl(content.keys, content.retention, content.sweep, control, content.flagged),
        open_erasure(records, content, people, control, (end_jobs,)),
        models,
        records.verifier,
        records.presence,
        settings,
    )
