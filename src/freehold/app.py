"""The composition root: the only place where objects are built, from the store upwards, and closed in reverse."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from freehold.api.admin.application import AdminServices
from freehold.api.application import ApplicationServices, build_application
from freehold.api.batch_lines import batch_workers
from freehold.api.door import Door, People
from freehold.catalog.catalog import Catalog
from freehold.catalog.deployments import DeploymentRegistry
from freehold.config import Settings, read_secret
from freehold.content_filter.registry import FilterRegistry, Parts
from freehold.encryption.content_keys import ContentKeys
from freehold.engines.base import EngineSpec
from freehold.engines.registry import get_engine
from freehold.errors import ConfigError, UnknownModel
from freehold.gateway.batch_room import Room
from freehold.gateway.books import Backlog, Books, Recorder
from freehold.gateway.content import Content, open_content
from freehold.gateway.content_control import ContentControl
from freehold.gateway.control import DeploymentControl
from freehold.gateway.erasure import Erasure
from freehold.gateway.filters import open_filters
from freehold.gateway.flights import Flights
from freehold.gateway.ledger import Ledger
from freehold.gateway.permits import Permits
from freehold.gateway.picture_studio import Studio
from freehold.gateway.pictures import Pictures
from freehold.gateway.pipeline import Gateway
from freehold.gateway.provenance import Provenance
from freehold.gateway.receipts import Receipts
from freehold.gateway.remote_tools import RemoteTools
from freehold.gateway.upkeep import Upkeep
from freehold.governance.authorization import Roles
from freehold.governance.digests import Digests
from freehold.governance.directory import Directory
from freehold.governance.invites import Invites
from freehold.governance.keys import KeyRing
from freehold.governance.limits import LimitRegistry
from freehold.governance.policies import PolicyRegistry
from freehold.governance.policy import PolicySet
from freehold.governance.policy_cases import require_cases, run_cases
from freehold.governance.suspensions import Suspensions
from freehold.identity.identity import open_identity
from freehold.jobs.workers import Workers
from freehold.journal.journal import Journal
from freehold.journal.projection import Projection
from freehold.journal.projection_reports import UsageReports
from freehold.journal.signer import Signer
from freehold.provenance.finisher import Finisher
from freehold.provenance.reader import ProvenanceReader
from freehold.serving.supervisor import Prepare, Supervisor
from freehold.store.database import Database
from freehold.store.home import Home, write_private
from freehold.store.signin import forget_strangers
from freehold.store.usage_database import UsageDatabase
from freehold.types.deployment import DeploymentSettings, SamplingDefaults
from freehold.types.identity import Role
from freehold.types.images import DEFAULT_MODEL as DEFAULT_PICTURE_MODEL
from freehold.types.model import Progress
from freehold.web.pages import page_routes

STARTER_DEPLOYMENTS = (
    DeploymentSettings(
        name="chat",
        model="smollm2-135m-instruct",
        context_length=4096,
        defaults=SamplingDefaults(temperature=0.2, top_p=0.9, frequency_penalty=0.2, max_tokens=1024),
    ),
    DeploymentSettings(name="embed", model="all-minilm-l6-v2", task="embeddings"),
    DeploymentSettings(
        name="paint",
        model="starter-painter",
        engine="painter",
        task="images",
        aliases=[DEFAULT_PICTURE_MODEL],
        start="on_demand",
    ),
)
"""What a new home serves. Temperature and top_p are what the chat model's authors recommend; the penalty and the
limit are there because a model of this size otherwise repeats itself now and then without an end. The painter starts
with the first picture: beside the server's start it would take the processor from the chat model, and memory from
whoever never paints."""


@dataclass(frozen=True, slots=True)
class App:
    """An open Freehold."""

    home: Home
    settings: Settings
    catalog: Catalog
    people: People
    control: DeploymentControl
    supervisor: Supervisor
    flights: Flights
    asgi: ASGIApp
    admin_key: str
    new_admin_key: bool
    """Whether the owner's key was made just now."""

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
) -> AsyncIterator[App]:
    """Build everything on a home folder, and close it at the end.

    Args:
        home: the folder; made if it is not there.
        settings: the configuration.
        engines: whether to start the deployments; without, only records can be read and changed.
        recorder: where requests are recorded instead of the journal.
        parts: what content filters are made of instead of Freehold's own detectors.

    Raises:
        HomeError: the folder is in use, cannot be written, or was written by a newer version.
        ConfigError: a deployment of the file is not one that its engine takes.
    """
    place = Home(home)
    async with AsyncExitStack() as stack:
        stack.enter_context(place.locked())
        database = await Database.open(place.database)
        stack.push_async_callback(database.close)
        signer = Signer.load_or_create(place.journal_key, place.journal / "public.pem")
        journal = await Journal.open(place.journal, signer, settings.journal)
        stack.push_async_callback(journal.close)
        usage, projection = await stack.enter_async_context(_open_usage(place, settings, journal))
        digests = Digests(place.pepper())
        limits, ledger = await _limits(database, settings, digests, journal)
        content = await stack.enter_async_context(open_content(database, place, settings))
        people = await stack.enter_async_context(_open_people(database, place, settings, content.keys))
        owner_key = await _owner_key(place, people.keys)
        catalog = Catalog(database, place.models, settings.catalog)
        registry = await _registry(database, settings)
        supervisor = await stack.enter_async_context(_open_supervisor(place, settings, catalog))
        filters = await open_filters(database, settings, registry, supervisor, parts)
        control = _control(registry, supervisor, content, filters, settings, running=engines)
        policies = await _policies(database, settings, registry)
        flights = _flights(settings, people, content.keys)
        books = Books(recorder or _backlog(journal, projection, settings), ledger, digests, limits.pair)
        pictures, provenance = await stack.enter_async_context(_open_pictures(place, settings))
        permits = Permits(policies, people.suspensions)
        remote = await stack.enter_async_context(RemoteTools(settings.mcp_server, books, permits, people.door.again))
        gateway = Gateway(registry, supervisor, flights, books, permits, pictures, content, filters, remote)
        reports = UsageReports(journal, usage, projection, counters=supervisor.counters, running=books.running)
        erasure = _erasure(database, content, people, control, journal, signer)
        kept = ContentControl(content.keys, content.retention, content.sweep, control, content.flagged)
        admin = AdminServices(
            people, control, catalog, limits, ledger, policies, filters, journal, reports, digests, kept, erasure
        )
        receipts = Receipts(journal, projection, usage)
        services = ApplicationServices(gateway, content.answers, receipts, reports, provenance, admin)
        asgi = build_application(services, settings.server, pages=page_routes())
        workers = batch_workers(gateway, people.door, Room(registry, supervisor), content, settings)
        upkeep = Upkeep(journal, projection, content.sweep, people.keys)
        await stack.enter_async_context(_at_work(gateway, upkeep, control, workers if engines else None))
        yield App(place, settings, catalog, people, control, supervisor, flights, asgi, *owner_key)


@asynccontextmanager
async def _at_work(
    gateway: Gateway, upkeep: Upkeep, control: DeploymentControl, workers: Workers | None
) -> AsyncIterator[None]:
    """What goes on by itself: responses, what has to be done now and then, deployments, and jobs."""
    async with gateway.responses, upkeep:
        await control.start()
        async with workers or nullcontext():
            yield


def _backlog(journal: Journal, projection: Projection, settings: Settings) -> Backlog:
    """The journal, as long as what is read from it keeps up."""
    return Backlog(journal, projection, settings.journal.max_backlog_records)


def _flights(settings: Settings, people: People, content_keys: ContentKeys) -> Flights:
    """The requests that run; those of somebody who may no more are stopped."""
    flights = Flights(settings.server.request_timeout_s)
    for changing in (people, content_keys):
        changing.on_change(partial(flights.review, people.door.objection))
    people.suspensions.on_change(partial(flights.review_callers, people.suspensions.objection))
    return flights


def _erasure(
    database: Database,
    content: Content,
    people: People,
    deployments: DeploymentControl,
    journal: Journal,
    signer: Signer,
) -> Erasure:
    """What erases users and projects: what is kept of them, and how they signed in."""
    return Erasure(
        database,
        content.keys,
        content.sweep,
        people.directory,
        people.keys,
        people.invites,
        deployments,
        journal,
        signer,
        forget=(
            people.identity.sessions.sweep,
            partial(forget_strangers, database),
            partial(people.suspensions.forget_strangers, people.directory.member),
        ),
    )


@asynccontextmanager
async def _open_supervisor(home: Home, settings: Settings, catalog: Catalog) -> AsyncIterator[Supervisor]:
    """What runs engines; they start when a deployment is set."""
    drain_s = settings.server.request_timeout_s
    supervisor = Supervisor(settings.supervisor, home.run, preparer(catalog), drain_s=drain_s)
    try:
        yield supervisor
    finally:
        await supervisor.stop()


@asynccontextmanager
async def _open_usage(
    home: Home, settings: Settings, journal: Journal
) -> AsyncIterator[tuple[UsageDatabase, Projection]]:
    """The usage database, and what brings the journal's records there."""
    usage = UsageDatabase.at(home.usage_database, _usage_url(settings))
    projection = Projection(journal, usage)
    projection.start()
    try:
        yield usage, projection
    finally:
        await projection.stop()
        await usage.close()


async def _limits(
    database: Database, settings: Settings, digests: Digests, journal: Journal
) -> tuple[LimitRegistry, Ledger]:
    """What callers may use, and what the journal says they have used of it."""
    limits = LimitRegistry(database, digests.end_user)
    await limits.load(settings.limit)
    ledger = Ledger(limits.effective)
    limits.on_change(ledger.refresh)
    ledger.restore(journal.carried.spent, journal.carried.recent)
    return limits, ledger


@asynccontextmanager
async def _open_people(
    database: Database, home: Home, settings: Settings, content_keys: ContentKeys
) -> AsyncIterator[People]:
    """Who there is, how they show it, and who is suspended: members, their keys, who was asked to join, and sign-in."""
    directory = Directory(database, Roles({role.name: role.actions for role in settings.role}))
    await directory.load()
    keys = KeyRing(database, home.pepper(), directory)
    await keys.load()
    invites = Invites(database, home.pepper(), directory)
    await invites.load()
    suspensions = Suspensions(database)
    await suspensions.load()
    async with open_identity(database, directory, invites, settings.identity) as identity:
        door = Door(keys, directory, identity, content_keys, settings.server.public_url)
        yield People(door, directory, keys, invites, identity, suspensions)


@asynccontextmanager
async def _open_pictures(home: Home, settings: Settings) -> AsyncIterator[tuple[Pictures, Provenance]]:
    """What makes files of pictures and reads them back; its processes start with the first picture."""
    studio, finisher, reader = Studio(), Finisher(home, settings.provenance), ProvenanceReader()
    provenance = Provenance(reader, home.picture_issuer)
    try:
        yield Pictures(studio, finisher), provenance
    finally:
        await studio.close()
        await finisher.close()
        await reader.close()


def preparer(catalog: Catalog) -> Prepare:
    """What the supervisor calls before it starts a replica: the model file, and the secrets."""

    async def prepare(settings: DeploymentSettings, report: Callable[[str], None]) -> EngineSpec:
        engine = get_engine(settings.engine)
        api_key = read_secret(settings.api_key) if settings.api_key else None
        if not engine.needs_weights:
            return EngineSpec(settings, api_key=api_key)

        def tell(progress: Progress) -> None:
            share = f" {100 * progress.done_bytes // progress.total_bytes} %" if progress.total_bytes else ""
            report(f"{progress.stage}{share}")

        try:
            entry = await catalog.find(settings.model)
        except UnknownModel:
            entry = await catalog.pull(settings.model, progress=tell)
        return EngineSpec(settings, catalog.path(entry), entry.sha256, api_key)

    return prepare


async def _registry(database: Database, settings: Settings) -> DeploymentRegistry:
    """The deployments: stored ones, those of the file and, in a new home, the starter set."""
    registry = DeploymentRegistry(database)
    await registry.load(STARTER_DEPLOYMENTS if settings.server.starter else (), settings.deployment)
    return registry


async def _policies(database: Database, settings: Settings, deployments: DeploymentRegistry) -> PolicyRegistry:
    """The policies: stored ones and those of the file."""
    policies = PolicyRegistry(database, lambda: [deployment.settings for deployment in deployments.all()])
    await policies.load(settings.policy)
    return policies


def _usage_url(settings: Settings) -> str | None:
    """The URL of the usage database; None where it is SQLite in the home.

    Raises:
        ConfigError: the place where it should be kept has none.
    """
    return read_secret(settings.usage.database) if settings.usage.database else None


def _control(
    registry: DeploymentRegistry,
    supervisor: Supervisor,
    content: Content,
    filters: FilterRegistry,
    settings: Settings,
    *,
    running: bool,
) -> DeploymentControl:
    """What changes deployments, after those of the file were checked.

    Raises:
        ConfigError: one of them is wrong.
    """
    control = DeploymentControl(
        registry, supervisor, running=running, is_stopped=content.keys.is_stopped, is_filter=filters.knows
    )
    _check_configured(control, settings)
    return control


def _check_configured(control: DeploymentControl, settings: Settings) -> None:
    """Have every deployment of the file checked by its engine, and its policies by their cases.

    Raises:
        ConfigError: names the deployment and the key, or the case that does not come out as expected.
    """
    for index, deployment in enumerate(settings.deployment):
        try:
            control.check(deployment)
        except ConfigError as exc:
            raise ConfigError(f"deployment[{index}].{exc.message}", param=exc.param) from exc
    require_cases(run_cases(PolicySet(settings.policy), settings.case, settings.deployment))


async def _owner_key(home: Home, keys: KeyRing) -> tuple[str, bool]:
    """The owner's key of this home, and whether it was made just now.

    A home whose key file was deleted gets a new key; the old one stays valid until it is revoked.
    """
    if home.admin_key.exists():
        return home.admin_key.read_text(encoding="utf-8").strip(), False
    _, key = await keys.issue("admin", Role.OWNER)
    write_private(home.admin_key, f"{key}\n".encode())
    return key, True
