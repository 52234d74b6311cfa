"""The parts of the application that are about models: their lineage, and when deployments may change to them."""

from collections.abc import Callable
from typing import Final, TypeAlias

import structlog

from freehold.api.batch_lines import batch_work
from freehold.api.door import Door, People
from freehold.api.eval_runs import evaluation_work
from freehold.app_records import Records
from freehold.catalog.catalog import Catalog
from freehold.catalog.deployments import DeploymentRegistry
from freehold.config import Settings
from freehold.errors import AuditUnavailable, ConfigError, PromotionRefused
from freehold.gateway.batch_room import Room
from freehold.gateway.canary import Canaries
from freehold.gateway.canary_control import CanaryControl
from freehold.gateway.content import Content
from freehold.gateway.control import DeploymentControl
from freehold.gateway.evaluation_results import EvaluationResults
from freehold.gateway.lineage import Lineage
from freehold.gateway.lineage_check import LineageCheck
from freehold.gateway.model_services import ModelServices
from freehold.gateway.origins import Origins
from freehold.gateway.pipeline import Gateway
from freehold.gateway.promotion import Promotions, Results
from freehold.gateway.receipts import Receipts
from freehold.gateway.traces import Traces
from freehold.gateway.versions import Upgrades, Versions
from freehold.governance.digests import derived
from freehold.governance.directory import ORGANIZATION, PROJECT
from freehold.jobs.workers import Do
from freehold.store.database import Database
from freehold.store.deployments import get_fact, own_fact, put_fact
from freehold.store.home import Home
from freehold.types.batches import BATCH_JOB
from freehold.types.deployment import Origin
from freehold.types.evaluations import EVAL_JOB
from freehold.types.model import ModelEntry

log = structlog.get_logger(__name__)

_CONFIGURED: Final = "configured_models"
"""The fact that holds model and condition of each deployment of the configuration file, as of the last start."""


def open_work(
    gateway: Gateway,
    door: Door,
    room: Room,
    content: Content,
    lineage: Lineage,
    receipts: Receipts,
    settings: Settings,
) -> dict[str, Do]:
    """What does the jobs of each kind."""
    return {
        BATCH_JOB: batch_work(gateway, door, room, receipts, content, settings),
        EVAL_JOB: evaluation_work(gateway, door, room, content, lineage),
    }


OpenControl: TypeAlias = Callable[[Promotions, Canaries], DeploymentControl]


async def open_model_services(
    records: Records,
    catalog: Catalog,
    registry: DeploymentRegistry,
    people: People,
    content: Content,
    home: Home,
    open_control: OpenControl,
) -> ModelServices:
    """What records where models come from, and decides on deployments' changes to them.

    Raises:
        ConfigError: a deployment of the configuration file may not have the model that it names.
        AuditUnavailable: a decision cannot be recorded.
    """
    lineage = await open_lineage(records, catalog)
    origins = await open_origins(lineage, catalog)
    promotions = open_promotions(lineage, catalog, people, EvaluationResults(content.evaluations.store))
    await hold_configured(records.database, registry, promotions)
    canaries = Canaries(derived(home.pepper(), b"freehold canary arms"))
    control = open_control(promotions, canaries)
    canary_control = CanaryControl(control, canaries, promotions, lineage)
    await canary_control.load()
    versions = Versions(catalog)
    await versions.refresh()

    async def entered(_entry: ModelEntry) -> None:
        await versions.refresh()

    catalog.on_entry(entered)
    upgrades = Upgrades(versions, control, promotions)
    return ModelServices(lineage, origins, promotions, control, canaries, canary_control, versions, upgrades)


async def open_lineage(records: Records, catalog: Catalog) -> Lineage:
    """What artifacts are recorded with; the models of the catalog are, those that are pulled later with their pull."""
    lineage = Lineage(records.database, records.journal)
    catalog.on_entry(lineage.record_model)
    try:
        for entry in await catalog.list():
            await lineage.record_model(entry)
    except AuditUnavailable as exc:
        log.warning("models_not_recorded", reason=exc.message)
    return lineage


async def open_origins(lineage: Lineage, catalog: Catalog) -> Origins:
    """What knows which models have a recorded origin, from now on."""
    origins = Origins(lineage, catalog)

    async def pulled(_entry: ModelEntry) -> None:
        await origins.refresh()

    catalog.on_entry(pulled)
    lineage.on_model(origins.refresh)
    await origins.refresh()
    return origins


def open_traces(records: Records, lineage: Lineage, receipts: Receipts, catalog: Catalog, gateway: Gateway) -> Traces:
    """What finds and verifies what stands behind answers."""
    check = LineageCheck(records.journal, records.signer.public_key, catalog, gateway.files)
    return Traces(lineage, check, receipts, catalog, gateway)


async def hold_configured(database: Database, registry: DeploymentRegistry, promotions: Promotions) -> None:
    """Have the conditions of the configuration file's deployments hold too: against what they were at the last start.

    Raises:
        ConfigError: one names another model than then, which its condition of then does not allow.
        AuditUnavailable: a decision cannot be recorded.
    """
    name = own_fact(database, _CONFIGURED)
    known = await get_fact(database, name) or {}
    now = [found.settings for found in registry.all() if found.origin is Origin.CONFIG]
    for settings in now:
        before = known.get(settings.name)
        try:
            await promotions.gate(None if before is None else settings.model_copy(update=before), settings)
        except PromotionRefused as exc:
            raise ConfigError(f"deployment.model: {exc.message}", param="deployment.model") from exc
    told = {settings.name: {"model": settings.model, "promote_if": settings.promote_if} for settings in now}
    if told != known:
        await put_fact(database, name, told)


def open_promotions(lineage: Lineage, catalog: Catalog, people: People, results: Results) -> Promotions:
    """What decides on changes of deployments' models."""
    directory = people.directory

    def owner(project_id: str | None) -> tuple[str, str]:
        for organization in directory.organizations():
            if any(project.id == project_id for project in directory.projects(organization.id, archived=True)):
                return organization.id, project_id or ""
        return ORGANIZATION, project_id or PROJECT

    return Promotions(lineage, catalog, results, owner)
