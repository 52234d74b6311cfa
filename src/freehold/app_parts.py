"""The larger parts of the application, each opened by a function: what `freehold.app` puts together."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from freehold.api.door import Door, People
from freehold.app_cluster import open_cluster, open_desk, open_sharing
from freehold.app_records import Records
from freehold.catalog.catalog import Catalog
from freehold.catalog.deployments import DeploymentRegistry
from freehold.config import Settings, read_secret
from freehold.content_filter.registry import FilterRegistry
from freehold.encryption.content_keys import ContentKeys
from freehold.engines.auto import among
from freehold.engines.base import EngineSpec
from freehold.engines.registry import get_engine
from freehold.errors import ConfigError, UnknownModel
from freehold.gateway.canary import Canaries
from freehold.gateway.capacity_office import CapacityOffice
from freehold.gateway.content import Content
from freehold.gateway.control import DeploymentControl
from freehold.gateway.erasure import Erasure
from freehold.gateway.flights import Flights
from freehold.gateway.origins import Origins
from freehold.gateway.picture_studio import Studio
from freehold.gateway.pictures import Pictures
from freehold.gateway.promotion import Promotions
from freehold.gateway.provenance import Provenance
from freehold.governance.authorization import Roles
from freehold.governance.directory import Directory
from freehold.governance.invites import Invites
from freehold.governance.keys import KeyRing
from freehold.governance.policies import PolicyRegistry
from freehold.governance.policy import PolicySet
from freehold.governance.policy_cases import require_cases, run_cases
from freehold.governance.retention import RetentionRegistry
from freehold.governance.suspensions import Suspensions
from freehold.identity.identity import open_identity
from freehold.journal.recorder import Recorder
from freehold.provenance.finisher import Finisher
from freehold.provenance.reader import ProvenanceReader
from freehold.serving.supervisor import Measurements, Prepare, Supervisor
from freehold.store.database import Database
from freehold.store.deployments import get_fact, own_fact, put_fact
from freehold.store.home import Home, write_private
from freehold.store.signin import forget_strangers
from freehold.types.deployment import DeploymentSettings, SamplingDefaults
from freehold.types.identity import Role
from freehold.types.images import DEFAULT_MODEL as DEFAULT_PICTURE_MODEL
from freehold.types.model import ModelEntry, Progress

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

_MEASURED: Final = "measurements"
"""The fact that holds which options of engines were measured to be best."""


def open_flights(settings: Settings, people: People, content_keys: ContentKeys) -> Flights:
    """The requests that run; those of somebody who may no more are stopped."""
    flights = Flights(settings.server.request_timeout_s)
    for changing in (people, content_keys):
        changing.on_change(partial(flights.review, people.door.objection))
    people.suspensions.on_change(partial(flights.review_callers, people.suspensions.objection))
    return flights


def open_erasure(
    records: Records,
    content: Content,
    people: People,
    deployments: DeploymentControl,
    ends: Sequence[Callable[[str | None], Awaitable[object]]],
) -> Erasure:
    """What erases users and projects: what is kept of them, what was made of it, and how they signed in."""
    return Erasure(
        records.database,
        content.keys,
        content.sweep,
        people.directory,
        people.keys,
        people.invites,
        deployments,
        records.journal,
        records.signer,
        forget=(
            people.identity.sessions.sweep,
            partial(forget_strangers, records.database),
            partial(people.suspensions.forget_strangers, people.directory.member),
        ),
        ends=ends,
    )


@asynccontextmanager
async def open_supervisor(
    home: Home,
    settings: Settings,
    catalog: Catalog,
    registry: DeploymentRegistry | None,
    database: Database,
    journal: Recorder | None,
    running: bool,
) -> AsyncIterator[Supervisor]:
    """What runs engines, on a cluster or on this machine; they start when a deployment is set.

    Args:
        home: of the service.
        settings: the configuration.
        catalog: their models.
        database: remembers what was measured of them.
        registry: the deployments; None where none is to run.
        journal: where it is recorded where they are placed.
        running: whether any is to run.
    """
    drain_s = settings.server.request_timeout_s
    name = own_fact(database, _MEASURED)
    left = None if registry is None or database.is_shared else lambda name: registry.find(name) is not None
    measurements = Measurements(await get_fact(database, name) or [], partial(put_fact, database, name))
    async with (
        open_cluster(home, settings, database) as cluster,
        open_desk(settings, cluster, journal if running else None, left) as desk,
        open_sharing(home, settings, database, cluster, desk, running) as sharing,
    ):
        supervisor = Supervisor(
            settings.supervisor,
            home.run,
            preparer(catalog),
            drain_s=drain_s,
            fastest_first=among(settings.supervisor.fast_engines),
            measurements=measurements,
            cluster=cluster,
            desk=desk,
            sharing=sharing,
        )
        if settings.supervisor.measure == "when_idle":
            supervisor.measure_when_idle()
        try:
            yield supervisor
        finally:
            await supervisor.stop()


@asynccontextmanager
async def open_people(
    database: Database, home: Home, settings: Settings, content_keys: ContentKeys, *, tidy: bool = True
) -> AsyncIterator[People]:
    """Who there is, how they show it, and who is suspended: members, their keys, who was asked to join, and sign-in.

    With `tidy`, sessions that have ended are deleted now and then.
    """
    directory = Directory(database, Roles({role.name: role.actions for role in settings.role}))
    await directory.load()
    keys = KeyRing(database, home.pepper(), directory)
    await keys.load()
    invites = Invites(database, home.pepper(), directory)
    await invites.load()
    suspensions = Suspensions(database)
    await suspensions.load()
    async with open_identity(database, directory, invites, settings.identity, tidy=tidy) as identity:
        door = Door(keys, directory, identity, content_keys, settings.server.public_url)
        yield People(door, directory, keys, invites, identity, suspensions)


@asynccontextmanager
async def open_pictures(home: Home, settings: Settings) -> AsyncIterator[tuple[Pictures, Provenance]]:
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
            entry = await _fetched(catalog, settings.model, convert=not engine.reads_folders, tell=tell)
        base = await catalog.base_of(entry)
        if engine.reads_folders:
            try:
                served = await catalog.unconverted(base or entry)
            except UnknownModel as exc:
                raise ConfigError(f"model: {exc.message}", param="model") from exc
            adapter = catalog.path(entry) if base is not None else None
            digest = entry.sha256 if base is not None else served.sha256
            return EngineSpec(settings, catalog.path(served), digest, api_key, adapter)
        if base is None:
            return EngineSpec(settings, catalog.path(entry), entry.sha256, api_key)
        if not engine.takes_adapter:
            raise ConfigError(
                f"model: '{entry.name}' is an adapter, which the engine '{engine.name}' does not load; use llamacpp",
                param="model",
            )
        return EngineSpec(settings, catalog.path(base), entry.sha256, api_key, catalog.path(entry))

    return prepare


async def _fetched(catalog: Catalog, model: str, *, convert: bool, tell: Callable[[Progress], None]) -> ModelEntry:
    """A model that is not on this machine: from where another gateway has it, the same bytes, or as it is named."""
    known = await catalog.known(model)
    if known is None:
        return await catalog.pull(model, convert=convert, progress=tell)
    converted = known.format != "transformers"
    return await catalog.pull(
        known.source, name=known.name, sha256=known.source_sha256, convert=converted, progress=tell
    )


async def open_registry(database: Database, settings: Settings) -> DeploymentRegistry:
    """The deployments: stored ones, those of the file and, in a new home, the starter set."""
    registry = DeploymentRegistry(database)
    await registry.load(STARTER_DEPLOYMENTS if settings.server.starter else (), settings.deployment)
    return registry


async def open_policies(
    database: Database, settings: Settings, deployments: DeploymentRegistry, origins: Origins
) -> PolicyRegistry:
    """The policies: stored ones and those of the file."""
    policies = PolicyRegistry(
        database, lambda: [deployment.settings for deployment in deployments.all()], origins.has_origin
    )
    await policies.load(settings.policy)
    return policies


def keep_where_permitted(retention: RetentionRegistry, settings: Settings, policies: PolicyRegistry) -> None:
    """Have nothing kept of those whose content may not be in the zone of the database, where that is said."""
    zone = settings.database.zone
    if zone is not None:
        retention.place(
            zone, lambda organization, project: policies.current.permits_zone(organization, project or None, zone)
        )


def open_control(
    registry: DeploymentRegistry,
    supervisor: Supervisor,
    content: Content,
    filters: FilterRegistry,
    settings: Settings,
    promotions: Promotions,
    canaries: Canaries,
    *,
    running: bool,
    units: CapacityOffice | None = None,
) -> DeploymentControl:
    """What changes deployments, after those of the file were checked.

    Raises:
        ConfigError: one of them is wrong.
    """
    control = DeploymentControl(
        registry,
        supervisor,
        running=running,
        is_stopped=content.keys.is_stopped,
        is_filter=filters.knows,
        gate=promotions.gate,
        candidate_of=canaries.candidate_of,
        capacity=units,
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


async def owner_key_of(home: Home, keys: KeyRing) -> tuple[str, bool]:
    """The owner's key of this home, and whether it was made just now.

    A home whose key file was deleted gets a new key; the old one stays valid until it is revoked.
    """
    if home.admin_key.exists():
        return home.admin_key.read_text(encoding="utf-8").strip(), False
    _, key = await keys.issue("admin", Role.OWNER)
    write_private(home.admin_key, f"{key}\n".encode())
    return key, True
