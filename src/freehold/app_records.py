"""What is recorded, and where: the database, the journal, and what is known from that."""

import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from freehold import __version__
from freehold.config import Settings, read_secret
from freehold.encryption.shared_pepper import share_pepper
from freehold.errors import HomeError
from freehold.gateway.books import Backlog, Books
from freehold.gateway.presence import Presence, fingerprint
from freehold.gateway.receipts import Receipts
from freehold.governance.digests import Digests
from freehold.journal.journal import Journal
from freehold.journal.projection import Projection
from freehold.journal.projection_reports import UsageReports
from freehold.journal.signer import Signer
from freehold.journal.verification import Verifier
from freehold.serving.supervisor import Supervisor
from freehold.store.database import Database
from freehold.store.home import Home, write_private
from freehold.store.usage_database import UsageDatabase
from freehold.types.deployment import SecretRef

_FIRST: Final = "main"
"""The name of the journal of a home that is alone."""


@dataclass(frozen=True, slots=True)
class Records:
    """What is recorded, and where.

    Args:
        database: the home's.
        signer: signs what the journal says.
        journal: what happened.
        usage: what was used, as the journal says.
        projection: brings it there.
        digests: of what must not stand in the journal itself.
        verifier: says whether the journal is what was written.
        presence: of this server among the gateways of the database.
    """

    database: Database
    signer: Signer
    journal: Journal
    usage: UsageDatabase
    projection: Projection
    digests: Digests
    verifier: Verifier
    presence: Presence

    def receipts(self) -> Receipts:
        """What is known of requests."""
        return Receipts(self.journal, self.projection, self.usage)

    def reports(self, supervisor: Supervisor, books: Books) -> UsageReports:
        """What was used, and whether all agree on it."""
        return UsageReports(
            self.journal, self.usage, self.projection, counters=supervisor.counters, running=books.running
        )


@asynccontextmanager
async def open_records(home: Home, settings: Settings) -> AsyncIterator[Records]:
    """The home's database, its journal, and what is known from that."""
    async with AsyncExitStack() as stack:
        database = await open_database(home, settings)
        stack.push_async_callback(database.close)
        signer = Signer.load_or_create(home.journal_key, home.journal / "public.pem")
        if database.is_shared:
            await share_pepper(database, home, settings.encryption)
        presence = await stack.enter_async_context(_presence(database, signer, settings))
        journal = await Journal.open(home.journal, signer, settings.journal, writer=presence.name)
        stack.push_async_callback(journal.close)
        usage, projection = await stack.enter_async_context(open_usage(home, settings, journal))
        verifier = await stack.enter_async_context(Verifier(journal, home.journal, database))
        yield Records(database, signer, journal, usage, projection, Digests(home.pepper()), verifier, presence)


def backlog_of(records: Records, settings: Settings) -> Backlog:
    """The journal, as long as what is read from it keeps up."""
    return Backlog(records.journal, records.projection, settings.journal.max_backlog_records)


async def open_database(home: Home, settings: Settings, *, read_only: bool = False) -> Database:
    """The home's database; it knows this gateway's name where there may be others.

    Raises:
        HomeError: the home has a database of its own, and is to have another; or as `Database.open`.
        Unavailable, ConfigError: as `Database.open`.
    """
    url = database_url(home, settings)
    if url is not None and home.database.exists():
        raise HomeError(
            "this home has a database of its own, and 'database.url' names another: bring it there with 'freehold "
            "database move', or begin with a new home folder"
        )
    database = await Database.open(home.database, url=url, read_only=read_only)
    if database.is_shared:
        database.gateway = gateway_name(home, settings)
        if not read_only:
            remember_database(home, settings.database.url, database.gateway)
    return database


def database_url(home: Home, settings: Settings) -> str | None:
    """The URL of the home's database: as the settings say or, where they do not, as the home had it before.

    None where it is SQLite in the home.

    Raises:
        ConfigError: the place where the URL should be kept has none.
    """
    ref = settings.database.url
    if ref is None and home.shared_database.exists():
        ref = SecretRef.model_validate(_remembered(home)["url"])
    return None if ref is None else read_secret(ref)


def remember_database(home: Home, ref: SecretRef | None, name: str) -> None:
    """Write down where the database's URL is kept, and the gateway's name, for commands that are given no settings."""
    if ref is None:
        return
    told = {"url": ref.model_dump(exclude_none=True), "gateway": name}
    if not home.shared_database.exists() or _remembered(home) != told:
        write_private(home.shared_database, json.dumps(told).encode())


def gateway_name(home: Home, settings: Settings) -> str:
    """What this gateway is called: as the settings say, as it was before, as its journal, or as the machine."""
    if settings.gateway.name is not None:
        return settings.gateway.name
    if home.shared_database.exists():
        return str(_remembered(home)["gateway"])
    if (home.journal / _FIRST).exists():
        return _FIRST
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).strip("-._")[:63] or _FIRST


def _remembered(home: Home) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(home.shared_database.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise HomeError(f"{home.shared_database} cannot be read: restore it, or start with 'database.url'") from exc
    return found


def _presence(database: Database, signer: Signer, settings: Settings) -> Presence:
    url = settings.gateway.url or settings.server.public_url or ""
    return Presence(database, fingerprint(signer.public_key), __version__, url)


@asynccontextmanager
async def open_usage(
    home: Home, settings: Settings, journal: Journal
) -> AsyncIterator[tuple[UsageDatabase, Projection]]:
    """The usage database, and what brings the journal's records there."""
    usage = _usage_database(home, settings)
    projection = Projection(journal, usage)
    projection.start()
    try:
        yield usage, projection
    finally:
        await projection.stop()
        await usage.close()


def _usage_database(home: Home, settings: Settings) -> UsageDatabase:
    """The usage database: where the settings say or, without that, beside the home's own.

    Raises:
        ConfigError: the place where a URL should be kept has none.
    """
    if settings.usage.database is not None:
        return UsageDatabase.at(home.usage_database, read_secret(settings.usage.database))
    return UsageDatabase.at(home.usage_database, database_url(home, settings), param="database.url")
