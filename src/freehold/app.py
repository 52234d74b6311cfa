"""The composition root: the only place where objects are built, from the store upwards, and closed in reverse."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from freehold.api.admin.services import AdminServices
from freehold.api.application import ApplicationServices, build_application
from freehold.api.door import People
from freehold.app_admin import Governed, open_administration
from freehold.app_cluster import govern_desk
from freehold.app_gateways import keeping_up
from freehold.app_limits import open_limits
from freehold.app_models import open_model_services, open_traces, open_work
from freehold.app_parts import (
    keep_where_permitted,
    open_control,
    open_flights,
    open_people,
    open_pictures,
    open_policies,
    open_registry,
    open_supervisor,
    owner_key_of,
)
from freehold.app_records import Records, backlog_of, open_records
from freehold.app_training import open_trainings, trainings_at_work
from freehold.app_tuning import end_tuning, open_fine_tuning, tuning_at_work
from freehold.catalog.catalog import Catalog
from freehold.catalog.deployments import DeploymentRegistry
from freehold.config import Settings
from freehold.content_filter.registry import Parts
from freehold.gateway.batch_room import Room
from freehold.gateway.books import Books
from freehold.gateway.capacity_office import open_capacity
from freehold.gateway.content import Content, open_content
from freehold.gateway.control import DeploymentControl
from freehold.gateway.conversation_sharing import Sharing
from freehold.gateway.desk import LocalDesk
from freehold.gateway.filters import open_filters
from freehold.gateway.flights import Flights
from freehold.gateway.lineage import Lineage
from freehold.gateway.model_services import ModelServices
from freehold.gateway.permits import Permits
from freehold.gateway.pipeline import Gateway
from freehold.gateway.provenance import Provenance
from freehold.gateway.remote_tools import RemoteTools
from freehold.gateway.routing import Router
from freehold.gateway.tuning_python import Trainer
from freehold.gateway.upkeep import Upkeep
from freehold.governance.directory import Directory
from freehold.governance.invites import Invites
from freehold.governance.keys import KeyRing
from freehold.jobs.workers import Workers
from freehold.journal.projection_reports import UsageReports
from freehold.journal.recorder import Recorder
from freehold.serving.supervisor import Supervisor
from freehold.store.home import Home
from freehold.web.pages import page_routes
from freehold.workers.clerk import Core


@dataclass(frozen=True, slots=True)
class App:
    """An open Freehold."""

    home: Home
    settings: Settings
    catalog: Catalog
    people: People
    control: DeploymentControl
    flights: Flights
    lineage: Lineage
    core: Core
    """What it does for workers, where others take the requests."""
    asgi: ASGIApp
    removed: "asyncio.Future[None]"
    """Done when this gateway was removed, and must not go on."""
    admin_key: str
    new_admin_key: bool
    """Whether the owner's key was made just now."""

    @property
    def supervisor(self) -> Supervisor:
        """What runs engines."""
        return self.core.supervisor

    @property
    def directory(self) -> Directory:
        """Organizations, projects and their members."""
        return self.people.directory

    @property
    def keys(self) -> KeyRing:
        """The members' API keys."""
        return self.people.keys

    @property
    def invites(self) -> Invites:
        """Who was asked to join."""
        return self.people.invites


@asynccontextmanager
async def open_app(
    home: Path,
    settings: Settings,
    *,
    engines: bool = True,
    recorder: Recorder | None = None,
    parts: Parts | None = None,
    trainer: Trainer | None = None,
) -> AsyncIterator[App]:
    """Build everything on a home folder, and close it at the end.

    Args:
        home: the folder; made if it is not there.
        settings: the configuration.
        engines: whether to start the deployments; without, only records can be read and changed.
        recorder: where requests are recorded instead of the journal.
        parts: what content filters are made of instead of Freehold's own detectors.
        trainer: what fine-tunes instead of the program that the configuration names.

    Raises:
        HomeError, ConfigError: the folder cannot be used, or a deployment of the file is wrong.
    """
    async with AsyncExitStack() as stack:
        place, enter = Home(home), stack.enter_async_context
        stack.enter_context(place.locked())
        records = await enter(open_records(place, settings))
        database, journal, digests = records.database, records.journal, records.digests
        held = await enter(open_limits(place, records, settings))
        content = await enter(open_content(database, place, settings))
        people = await enter(open_people(database, place, settings, content.keys))
        of_home = (records.presence.lost, *await owner_key_of(place, people.keys))
        catalog, registry = Catalog(database, place.models, settings.catalog), await open_registry(database, settings)
        supervisor = await enter(open_supervisor(place, settings, catalog, registry, database, journal, engines))
        filters = await open_filters(database, settings, registry, supervisor, parts)
        capacities, units = await open_capacity(database, registry, supervisor.room, held.units, settings.cluster)
        opening = partial(open_control, registry, supervisor, content, filters, settings, running=engines, units=units)
        models = await open_model_services(records, catalog, registry, people, content, place, opening)
        control, policies = models.control, await open_policies(database, settings, registry, models.origins)
        flights = open_flights(settings, people, content.keys)
        desk = LocalDesk(recorder or backlog_of(records, settings), held.ledger, held.lender, capacities)
        books = Books(desk, digests, held.limits.pair)
        pictures, provenance = await enter(open_pictures(place, settings))
        permits, router = Permits(policies, people.suspensions, models.versions), Router(supervisor, models.canaries)
        mcp = await enter(RemoteTools(settings.mcp_server, books, permits, people.door.again))
        tuned = open_fine_tuning(content, catalog, control, journal, settings, trainer)
        sharing = Sharing(content.conversations, journal, people.directory.member)
        gateway = Gateway(
            registry, supervisor, flights, books, permits, pictures, content, filters, mcp, router, tuned, sharing
        )
        reports = records.reports(supervisor, books)
        governed, end = Governed(held.limits, held.uses, policies, filters), partial(end_tuning, tuned, place)
        admin = open_administration(records, people, content, catalog, models, governed, reports, end, settings)
        services = _services(gateway, content, records, models, catalog, reports, provenance, admin, settings)
        asgi = build_application(services, settings.server, pages=page_routes())
        upkeep = Upkeep(journal, records.projection, content.sweep, people.keys, models, database)
        work = _jobs(services, registry, supervisor, place, settings, content, models) if engines else ()
        kept = keeping_up(records, settings, people, content, governed, held.ledger, models, registry, gateway, units)
        await enter(_at_work(gateway, upkeep, control, (kept, *work)))
        core = Core(database, desk, supervisor, registry, models.canaries, models.versions, people.keys, content)
        yield App(place, settings, catalog, people, control, flights, models.lineage, core, asgi, *of_home)


def _services(
    gateway: Gateway,
    content: Content,
    records: Records,
    models: ModelServices,
    catalog: Catalog,
    reports: UsageReports,
    provenance: Provenance,
    admin: AdminServices,
    settings: Settings,
) -> ApplicationServices:
    """What the application serves."""
    keep_where_permitted(content.retention, settings, admin.policies)
    receipts, trainings = records.receipts(), open_trainings(content, records.journal, settings)
    traces = open_traces(records, models.lineage, receipts, catalog, gateway)
    return ApplicationServices(gateway, content.answers, receipts, traces, reports, provenance, admin, trainings)


def _jobs(
    services: ApplicationServices,
    registry: DeploymentRegistry,
    supervisor: Supervisor,
    home: Home,
    settings: Settings,
    content: Content,
    models: ModelServices,
) -> Sequence[AbstractAsyncContextManager[object]]:
    """What works on jobs, and knows on whose share they count."""
    govern_desk(supervisor.desk, services.admin.people.directory, services.admin.policies)
    gateway, door = services.gateway, services.admin.people.door
    room = Room(registry, supervisor)
    doing = open_work(gateway, door, room, content, models.lineage, services.receipts, settings)
    return (
        supervisor.at_work(),
        Workers(content.queue, doing, settings.jobs.max_running),
        tuning_at_work(
            gateway, door, models.lineage.record, home, settings, content, (supervisor.cluster, supervisor.desk)
        ),
        trainings_at_work(gateway, door, content, services.trainings, supervisor.cluster, supervisor.desk, settings),
    )


@asynccontextmanager
async def _at_work(
    gateway: Gateway, upkeep: Upkeep, control: DeploymentControl, jobs: Iterable[AbstractAsyncContextManager[object]]
) -> AsyncIterator[None]:
    """What goes on by itself: responses, what has to be done now and then, deployments, and jobs."""
    async with gateway.responses, upkeep, AsyncExitStack() as stack:
        await control.start()
        for each in jobs:
            await stack.enter_async_context(each)
        yield
