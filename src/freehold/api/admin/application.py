"""The control plane: FastAPI applications under `/admin`, for the service, and `/v1/organization`, for tenants.

`planes` imports this when one of them is first asked for.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from freehold import __version__
from freehold.api.admin.abuse import abuse_routes
from freehold.api.admin.accounts import account_routes
from freehold.api.admin.admin_keys import admin_key_routes
from freehold.api.admin.arbiter import arbiter_routes
from freehold.api.admin.audit import audit_routes
from freehold.api.admin.audit_logs import audit_log_routes
from freehold.api.admin.backup import backup_routes
from freehold.api.admin.blocklists import blocklist_routes
from freehold.api.admin.can import can_routes
from freehold.api.admin.canaries import canary_routes
from freehold.api.admin.capacities import capacity_routes
from freehold.api.admin.changes import Changes
from freehold.api.admin.cluster import cluster_routes
from freehold.api.admin.compliance import ComplianceSources, compliance_routes
from freehold.api.admin.content_filters import content_filter_routes
from freehold.api.admin.content_keys import content_key_routes, master_key_routes
from freehold.api.admin.deployment_logs import deployment_log_routes
from freehold.api.admin.deployments import deployment_routes
from freehold.api.admin.door import Allow
from freehold.api.admin.erasures import erasure_routes
from freehold.api.admin.flagged import flagged_routes
from freehold.api.admin.gateways import gateway_routes
from freehold.api.admin.invites import invite_routes
from freehold.api.admin.journal import journal_routes
from freehold.api.admin.keys import key_routes
from freehold.api.admin.limits import limit_routes
from freehold.api.admin.measurements import measurement_routes
from freehold.api.admin.model_versions import model_version_routes
from freehold.api.admin.models import model_routes
from freehold.api.admin.organizations import organization_admin_routes
from freehold.api.admin.overview import overview_routes
from freehold.api.admin.policies import policy_routes
from freehold.api.admin.project_keys import project_key_routes
from freehold.api.admin.project_users import project_user_routes
from freehold.api.admin.projects import project_routes
from freehold.api.admin.promotions import promotion_routes
from freehold.api.admin.rate_limits import rate_limit_routes
from freehold.api.admin.retention import data_retention_routes, retention_routes
from freehold.api.admin.role_list import role_routes
from freehold.api.admin.service_accounts import service_account_routes
from freehold.api.admin.services import AdminServices
from freehold.api.admin.settings import settings_routes
from freehold.api.admin.showback import showback_routes
from freehold.api.admin.status import status_routes
from freehold.api.admin.suspensions import suspension_routes
from freehold.api.admin.usage import usage_routes
from freehold.api.admin.users import user_routes
from freehold.api.dialect import Dialect, error_body, error_headers
from freehold.api.docs_page import ACTION
from freehold.errors import FreeholdError, InternalError, InvalidRequest, MethodNotAllowed, NotFound
from freehold.governance.explanation import Explainer

_TEXT: Final = {"type": ["string", "null"]}
_ERROR: Final[dict[str, Any]] = {
    "description": "An error.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["message", "type", "param", "code"],
                        "properties": {"message": {"type": "string"}, "type": _TEXT, "param": _TEXT, "code": _TEXT},
                    }
                },
            }
        }
    },
}
"""What every route answers where it fails, as OpenAPI describes it."""


def tenant_application(services: AdminServices) -> FastAPI:
    """The routes under `/v1/organization`, without their door."""
    return control_plane("An organization", organization_routers(services))


def service_application(services: AdminServices, changes: Changes) -> FastAPI:
    """The routes under `/admin`, without their door."""
    people = services.people
    routers = [
        deployment_routes(services.control),
        deployment_log_routes(services.control),
        measurement_routes(services.control),
        cluster_routes(services.control),
        capacity_routes(services.control),
        promotion_routes(services.control, services.models.promotions),
        canary_routes(services.control, services.models.canaries, services.models.canary_control),
        key_routes(people.directory, people.keys, services.limits),
        model_routes(services.catalog, services.control),
        model_version_routes(services.models, services.reports),
        limit_routes(services.limits, services.uses),
        policy_routes(services.policies),
        content_filter_routes(services.filters, people.directory),
        blocklist_routes(services.filters, people.directory),
        can_routes(_explainer(services)),
        usage_routes(services.reports, services.digests.end_user),
        showback_routes(services.reports, people.directory),
        audit_routes(people.directory, services.reports),
        journal_routes(services.journal, services.verifier),
        compliance_routes(_compliance(services)),
        settings_routes(services.settings),
        organization_admin_routes(people.directory, people.keys, people.invites),
        backup_routes(services.journal, changes, shared=services.settings.database.url is not None),
        status_routes(services.journal, services.reports.projection),
        gateway_routes(services.presence, services.control),
        arbiter_routes(services.control.desk),
        master_key_routes(services.content),
        *content_routers(services),
        *abuse_routers(services),
    ]
    return control_plane("The service", routers)


def _compliance(services: AdminServices) -> ComplianceSources:
    people = services.people
    return ComplianceSources(
        people.directory,
        people.keys,
        services.control,
        services.catalog,
        services.models.origins,
        services.filters,
        services.policies,
        services.content,
        services.erasure,
        services.journal,
        services.verifier,
        services.settings,
    )


def _explainer(services: AdminServices) -> Explainer:
    people, filters = services.people, services.filters
    return Explainer(people.directory, people.keys, services.policies, services.control.settings_of, filters.project_of)


def organization_routers(services: AdminServices) -> list[APIRouter]:
    """The routes under `/v1/organization`, without their door."""
    directory, keys = services.people.directory, services.people.keys
    return [
        project_routes(directory, keys, services.people.door),
        project_user_routes(directory),
        service_account_routes(directory, keys),
        project_key_routes(directory, keys, services.limits),
        user_routes(directory, keys),
        account_routes(services.people),
        invite_routes(directory, services.people.invites),
        admin_key_routes(directory, keys),
        audit_log_routes(directory, services.reports),
        role_routes(directory.roles),
        rate_limit_routes(directory, services.control, services.limits),
        overview_routes(services.control, services.reports, directory),
        data_retention_routes(services.content, directory),
        *content_routers(services),
        *abuse_routers(services),
    ]


def content_routers(services: AdminServices) -> list[APIRouter]:
    """The routes on kept content, which are under `/admin` too, for those who run the service."""
    return [
        content_key_routes(services.content, services.people.directory),
        retention_routes(services.content, services.people.directory),
        erasure_routes(services.erasure, services.people.directory),
    ]


def abuse_routers(services: AdminServices) -> list[APIRouter]:
    """The routes on what the content filter found and on who is suspended; likewise, each for its own organization."""
    people, digest = services.people, services.digests.end_user
    return [
        abuse_routes(people.directory, services.reports, people.suspensions, digest),
        suspension_routes(people.directory, people.suspensions, digest),
        flagged_routes(services.content.flagged, digest),
    ]


def control_plane(title: str, routers: list[APIRouter]) -> FastAPI:
    """An application of these routes, without a door, whose errors have the API's envelope."""
    app = FastAPI(
        title=title,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    for router in routers:
        _describe(router)
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


def _describe(router: APIRouter) -> None:
    """Have the OpenAPI document say which action each route is."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            for each in route.dependencies:
                if isinstance(each.dependency, Allow):
                    route.responses["default"] = _ERROR
                    route.openapi_extra = {ACTION: each.dependency.action.value}


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
