"""Both administration APIs behind their entrances: `/admin` for the service, `/v1/organization` for tenants.

What they consist of is FastAPI and a hundred and sixty routes, which are imported and put together in a thread when an
administrator first calls: a gateway that is not administered takes neither the time nor the memory.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp

from freehold.api.admin.changes import Changes
from freehold.api.admin.entrance import AdminDoor
from freehold.api.admin.services import AdminServices
from freehold.api.edge import JsonBody
from freehold.api.later import Later, named

if TYPE_CHECKING:
    from fastapi import FastAPI


def admin_application(services: AdminServices, changes: Changes, max_body_bytes: int) -> ASGIApp:
    """What administers the service, behind its entrance; to be mounted under `/admin`."""
    app = JsonBody(Later(partial(service_plane, services, changes)), max_body_bytes)
    return AdminDoor(app, services.people.door, services.journal, changes, everybody=False)


def organization_application(services: AdminServices, changes: Changes, max_body_bytes: int) -> ASGIApp:
    """What administers an organization, behind its entrance; to be mounted under `/v1/organization`."""
    app = JsonBody(Later(partial(tenant_plane, services)), max_body_bytes)
    return AdminDoor(app, services.people.door, services.journal, changes, everybody=True)


def tenant_plane(services: AdminServices) -> "FastAPI":
    """The routes under `/v1/organization`, imported and put together now."""
    return _made("tenant_application", services)


def service_plane(services: AdminServices, changes: Changes) -> "FastAPI":
    """The routes under `/admin`, likewise."""
    return _made("service_application", services, changes)


def _made(name: str, *services: Any) -> "FastAPI":
    made: FastAPI = named(f"freehold.api.admin.application:{name}")(*services)
    return made
