"""The control plane: FastAPI applications under `/admin`, for the service, and `/v1/organization`, for tenants."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from freehold import __version__
from freehold.api.admin.admin_keys import admin_key_routes
from freehold.api.admin.backup import backup_routes
from freehold.api.admin.changes import Changes
from freehold.api.admin.content_keys import content_key_routes, master_key_routes
from freehold.api.admin.deployments import deployment_routes
from freehold.api.admin.door import AdminDoor
from freehold.api.admin.erasures import erasure_routes
from freehold.api.admin.invites import invite_routes
from freehold.api.admin.keys import key_routes
from freehold.api.admin.limits import limit_routes
from freehold.api.admin.models import model_routes
from freehold.api.admin.project_keys import project_key_routes
from freehold.api.admin.project_users import project_user_routes
from freehold.api.admin.projects import project_routes
from freehold.api.admin.retention import data_retention_routes, retention_routes
from freehold.api.admin.service_accounts import service_account_routes
from freehold.api.admin.status import status_routes
from freehold.api.admin.usage import usage_routes
from freehold.api.admin.users import user_routes
from freehold.api.dialect import Dialect, error_body, error_headers
from freehold.api.door import Door
from freehold.api.edge import JsonBody
from freehold.catalog.catalog import Catalog
from freehold.errors import FreeholdError, InternalError, InvalidRequest, MethodNotAllowed, NotFound
from freehold.gateway.content_control import ContentControl
from freehold.gateway.control import DeploymentControl
from freehold.gateway.erasure import Erasure
from freehold.gateway.ledger import Ledger
from freehold.governance.digests import Digests
from freehold.governance.directory import Directory
from freehold.governance.invites import Invites
from freehold.governance.keys import KeyRing
from freehold.governance.limits import LimitRegistry
from freehold.journal.journal import Journal
from freehold.journal.projection_reports import UsageReports


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the control plane works on.

    Args:
        door: knows who is asking.
        directory: organizations, projects and their members.
        keys: their API keys.
        invites: who was asked to join.
        control: what is deployed.
        catalog: which models there are.
        limits: what callers may use; `ledger` is what they have used of it.
        journal: where every action is recorded.
        reports: usage and costs.
        digests: the names of end users.
        content: keys and retention of kept content.
        erasure: erases users and projects.
    """

    door: Door
    directory: Directory
    keys: KeyRing
    invites: Invites
    control: DeploymentControl
    catalog: Catalog
    limits: LimitRegistry
    ledger: Ledger
    journal: Journal
    reports: UsageReports
    digests: Digests
    content: ContentControl
    erasure: Erasure


def admin_application(services: AdminServices, changes: Changes, max_body_bytes: int) -> ASGIApp:
    """What administers the service, behind its door; to be mounted under `/admin`."""
    app = JsonBody(service_application(services, changes), max_body_bytes)
    return AdminDoor(app, services.door, services.journal, changes, everybody=False)


def organization_application(services: AdminServices, changes: Changes, max_body_bytes: int) -> ASGIApp:
    """What administers an organization, behind its door; to be mounted under `/v1/organization`."""
    app = _application("Freehold organization", [*organization_routers(services)])
    return AdminDoor(JsonBody(app, max_body_bytes), services.door, services.journal, changes, everybody=True)


def service_application(services: AdminServices, changes: Changes) -> FastAPI:
    """The routes under `/admin`, without their door."""
    routers = [
        deployment_routes(services.control),
        key_routes(services.directory, services.keys),
        model_routes(services.catalog, services.control),
        limit_routes(services.limits, services.ledger),
        usage_routes(services.reports, services.digests.end_user),
        backup_routes(services.journal, changes),
        status_routes(services.journal, services.reports.projection),
        master_key_routes(services.content),
        *content_routers(services),
    ]
    return _application("Freehold administration", routers)


def organization_routers(services: AdminServices) -> list[APIRouter]:
    """The routes under `/v1/organization`, without their door."""
    directory, keys = services.directory, services.keys
    return [
        project_routes(directory, keys, services.door),
        project_user_routes(directory),
        service_account_routes(directory, keys),
        project_key_routes(directory, keys),
        user_routes(directory, keys),
        invite_routes(directory, services.invites),
        admin_key_routes(directory, keys),
        data_retention_routes(services.content, directory),
        *content_routers(services),
    ]


def content_routers(services: AdminServices) -> list[APIRouter]:
    """The routes on kept content, which are under `/admin` too, for those who run the service."""
    return [
        content_key_routes(services.content, services.directory),
        retention_routes(services.content, services.directory),
        erasure_routes(services.erasure, services.directory),
    ]


def _application(title: str, routers: list[APIRouter]) -> FastAPI:
    app = FastAPI(
        title=title,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    for router in routers:
        app.include_router(router)
    handlers: dict[type[Exception], Callable[[Request, Any], Coroutine[Any, Any, JSONResponse]]] = {
        FreeholdError: _problem,
        RequestValidationError: _invalid,
        HTTPException: _http_problem,
        Exception: _defect,
    }
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)
    return app


async def _problem(_request: Request, exc: FreeholdError) -> JSONResponse:
    return JSONResponse(error_body(exc, Dialect.OPENAI), exc.status, error_headers(exc))


async def _defect(request: Request, _exc: Exception) -> JSONResponse:
    """Tell of a defect; the framework raises it again, and the edge logs it."""
    return await _problem(request, InternalError("The server had an error while processing your request."))


async def _invalid(request: Request, exc: RequestValidationError) -> JSONResponse:
    """Name the offending field; unknown ones go first."""
    errors = exc.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    where = ".".join(str(step) for step in first["loc"][1:])
    message = first["msg"].removeprefix("Value error, ")
    text = f"{where}: {message}" if where else message
    return await _problem(request, InvalidRequest(text, param=where or None))


async def _http_problem(request: Request, exc: HTTPException) -> JSONResponse:
    where = f"{request.method} {request.scope['path']}"
    if exc.status_code == 405:
        return await _problem(request, MethodNotAllowed(f"Not allowed: {where}."))
    if exc.status_code == 404:
        return await _problem(request, NotFound(f"Invalid URL ({where}).", code="unknown_url"))
    return await _problem(request, InvalidRequest(str(exc.detail)))
