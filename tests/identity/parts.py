"""The parts of sign-in on a real database file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from freehold.governance.authorization import Roles
from freehold.governance.directory import ORGANIZATION, Directory
from freehold.governance.invites import Invites
from freehold.identity.accounts import LocalAccounts
from freehold.identity.admission import Admission
from freehold.identity.sessions import Sessions
from freehold.store.database import Database
from freehold.store.directory import MemberRow
from freehold.types.signin import IdentitySettings

PASSWORD = "correct horse battery staple"


@dataclass(slots=True)
class Clock:
    """Seconds that pass only when a test says so."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


@dataclass(slots=True)
class Parts:
    """The parts."""

    database: Database
    directory: Directory
    invites: Invites
    sessions: Sessions
    accounts: LocalAccounts
    admission: Admission
    clock: Clock = field(default_factory=Clock)

    async def user(self, email: str, *roles: str) -> MemberRow:
        """A new user of the organization."""
        return await self.directory.create_user(ORGANIZATION, email, email.partition("@")[0], roles)


@asynccontextmanager
async def open_parts(folder: Path, settings: IdentitySettings | None = None) -> AsyncIterator[Parts]:
    """Open them on a folder."""
    clock, settings = Clock(), settings or IdentitySettings()
    database = await Database.open(folder / "freehold.db")
    try:
        directory = Directory(database, Roles(), clock=clock)
        await directory.load()
        invites = Invites(database, b"p" * 32, directory, clock=clock)
        await invites.load()
        sessions = Sessions(database, directory, settings, clock=clock)
        await sessions.load()
        accounts = LocalAccounts(database, directory, invites, sessions, allowed=settings.local_accounts, clock=clock)
        admission = Admission(database, directory, invites)
        yield Parts(database, directory, invites, sessions, accounts, admission, clock)
    finally:
        await database.close()
