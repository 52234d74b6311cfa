"""What a worker is made of: the gateway, with the parts that must be exact at the core's end of the link."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from starlette.types import ASGIApp

from freehold.api.application import PROBLEMS
from freehold.api.door import People
from freehold.api.operation import Plane
from freehold.app_models import open_promotions
from freehold.app_parts import (
    keep_where_permitted,
    open_control,
    open_flights,
    open_people,
    open_pictures,
    open_policies,
    open_supervisor,
)
from freehold.app_records import open_database
from freehold.app_tuning import open_fine_tuning
from freehold.catalog.catalog import Catalog
from freehold.catalog.deployments import DeploymentRegistry
from freehold.config import Settings
from freehold.encryption.cipher import ContentCipher
from freehold.gateway.books import Books
from freehold.gateway.content import Content, open_content
from freehold.gateway.conversation_sharing import Sharing
from freehold.gateway.evaluation_results import EvaluationResults
from freehold.gateway.filters import open_filters
from freehold.gateway.flights import Flights
from freehold.gateway.item_store import ItemStore
from freehold.gateway.lineage import Lineage
from freehold.gateway.metrics import Metrics
from freehold.gateway.origins import Origins
from freehold.gateway.permits import Permits
from freehold.gateway.pipeline import Gateway
from freehold.gateway.remote_tools import RemoteTools
from freehold.gateway.routing import Router
from freehold.gateway.versions import Versions
from freehold.governance.digests import Digests, derived
from freehold.governance.limits import LimitRegistry
from freehold.store.database import Database
from freehold.store.home import Home
from freehold.store.kept_items import COMPLETION_TABLES
from freehold.types.content import COMPLETIONS
from freehold.workers.copies import Copies, Reading
from freehold.workers.front import own_application
from freehold.workers.link import Link
from freehold.workers.remote_desk import RemoteDesk
from freehold.workers.remote_lender import RemoteLender
from freehold.workers.remote_parts import RemoteCanaries, RemoteCompletions, RemoteFlagged


@dataclass(frozen=True, slots=True)
class WorkerApp:
    """An open worker.

    Args:
        asgi: serves the requests that a worker serves itself.
        people: who is let in.
        flights: its running requests.
        metrics: what it has counted.
        reading: reads its copies again.
        versions: which models are retired.
        canaries: which candidates get requests.
    """

    asgi: ASGIApp
    people: People
    flights: Flights
    metrics: Metrics
    reading: Reading
    versions: Versions
    canaries: RemoteCanaries


@asynccontextmanager
async def open_worker(
    home: Home, settings: Settings, link: Link, desk: RemoteDesk, lender: RemoteLender
) -> AsyncIterator[WorkerApp]:
    """Build a worker on a home that the core has open, and close it at the end.

    Args:
        home: where the core's database is.
        settings: the configuration.
        link: to the core.
        desk: where requests are admitted, at the link's other end.
        lender: lends replicas from there.

    Raises:
        HomeError, ConfigError: what workers have copies of cannot be read.
    """
    async with AsyncExitStack() as stack:
        database = await open_database(home, settings, read_only=True)
        stack.push_async_callback(database.close)
        digests = Digests(home.pepper())
        limits = LimitRegistry(database, digests.end_user)
        await limits.load(settings.limit)
        content = _writing_there(
            await stack.enter_async_context(open_content(database, home, settings)), home, database, link
        )
        people = await stack.enter_async_context(open_people(database, home, settings, content.keys, tidy=False))
        deployments = DeploymentRegistry(database)
        await deployments.load((), settings.deployment)
        catalog = Catalog(database, home.models, settings.catalog)
        versions = Versions(catalog)
        await versions.refresh()
        lineage = Lineage(database, desk)
        origins = Origins(lineage, catalog)
        await origins.refresh()
        filters = await open_filters(database, settings, deployments, lender)
        policies = await open_policies(database, settings, deployments, origins)
        keep_where_permitted(content.retention, settings, policies)
        flights = open_flights(settings, people, content.keys)
        books = Books(desk, digests, limits.pair)
        permits = Permits(policies, people.suspensions, versions)
        pictures, _ = await stack.enter_async_context(open_pictures(home, settings))
        tools = await stack.enter_async_context(RemoteTools(settings.mcp_server, books, permits, people.door.again))
        canaries = RemoteCanaries(derived(home.pepper(), b"freehold canary arms"), link)
        engines = await stack.enter_async_context(open_supervisor(home, settings, catalog, None, database, None, False))
        promotions = open_promotions(lineage, catalog, people, EvaluationResults(content.evaluations.store))
        control = open_control(deployments, engines, content, filters, settings, promotions, canaries, running=False)
        tuned = open_fine_tuning(content, catalog, control, desk, settings, None)
        sharing = Sharing(content.conversations, desk, people.directory.member)
        router = Router(lender, canaries)
        gateway = Gateway(
            deployments, lender, flights, books, permits, pictures, content, filters, tools, router, tuned, sharing
        )
        metrics = Metrics()
        books.on_close(metrics.closed)
        plane = Plane(
            gateway, people.door, metrics, content.answers, settings.server.max_body_bytes, settings.server.public_url
        )
        copies = Copies(settings, people, content, limits, deployments, filters, policies, versions, origins, flights)
        asgi = own_application(plane, PROBLEMS)
        yield WorkerApp(asgi, people, flights, metrics, Reading(copies), versions, canaries)


def _writing_there(content: Content, home: Home, database: Database, link: Link) -> Content:
    """Kept content as a worker has it: what its requests add to it, the core writes."""
    cipher = ContentCipher(content.keys)
    stored = ItemStore(database, cipher, content.retention, COMPLETIONS, COMPLETION_TABLES)
    labels = derived(home.pepper(), b"freehold completion labels")
    return replace(
        content,
        flagged=RemoteFlagged(database, cipher, content.retention, link),
        completions=RemoteCompletions(stored, content.retention, labels, link),
    )
