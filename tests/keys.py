"""API keys on a database, with the directory of the members whose keys they are."""

from freehold.governance.authorization import Roles
from freehold.governance.directory import Directory
from freehold.governance.keys import KeyRing
from freehold.store.database import Database


async def open_keys(database: Database, pepper: bytes) -> KeyRing:
    """The keys that a database holds."""
    directory = Directory(database, Roles())
    await directory.load()
    ring = KeyRing(database, pepper, directory)
    await ring.load()
    return ring
