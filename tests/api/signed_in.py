"""The organization's administration as people reach it who have signed in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from fastapi import APIRouter

from freehold.api.admin.application import control_plane
from freehold.api.admin.changes import Changes
from freehold.api.admin.entrance import AdminDoor
from freehold.api.admin.project_keys import project_key_routes
from freehold.api.admin.projects import project_routes
from freehold.api.door import Door
from freehold.api.edge import Edge
from freehold.governance.authorization import Roles
from freehold.governance.directory import Directory
from freehold.governance.invites import Invites
from freehold.governance.keys import KeyRing
from freehold.governance.limits import LimitRegistry
from freehold.identity.identity import Identity, open_identity
from freehold.store.database import Database
from freehold.types.signin import IdentitySettings
from tests.gateway.kept import content_keys_of
from tests.usage import open_journal


@dataclass(frozen=True, slots=True)
class Organization:
    """What there is, and a way to call it."""

    directory: Directory
    keys: KeyRing
    identity: Identity
    client: httpx2.AsyncClient

    async def call(
        self, method: str, path: str, body: Any = None, *, member: str | None = None, key: str | None = None
    ) -> tuple[int, Any]:
        """Call a route as a signed-in member, or with a key: the status and the answer."""
        headers = {"authorization": f"Bearer {key}"}
        if member is not None:
            cookie = await self.identity.sessions.open(member, "password", "Test/1.0", instead_of=None)
            headers = {"cookie": f"__Host-freehold={cookie}", "origin": "http://test"}
        response = await self.client.request(method, path, json=body, headers=headers)
        return response.status_code, response.json()


@asynccontextmanager
async def open_organization(home: Path) -> AsyncIterator[Organization]:
    """A directory, keys and a journal in a home folder, behind the routes of projects and their keys."""
    database = await Database.open(home / "freehold.db")
    journal = await open_journal(home)
    directory = Directory(database, Roles())
    await directory.load()
    keys = KeyRing(database, b"pepper", directory)
    await keys.load()
    invites = Invites(database, b"pepper", directory)
    limits = LimitRegistry(database, str)
    async with open_identity(database, directory, invites, IdentitySettings()) as identity:
        door = Door(keys, directory, identity, content_keys_of(database), None)
        routers: list[APIRouter] = [project_key_routes(directory, keys, limits), project_routes(directory, keys, door)]
        app = Edge(AdminDoor(control_plane("test", routers), door, journal, Changes(), everybody=True))
        try:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
                yield Organization(directory, keys, identity, client)
        finally:
            await journal.close()
            await database.close()
