"""The ASGI application: every route in one list, outermost layer first."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp

from freehold.api.admin.changes import Changes
from freehold.api.admin.planes import admin_application, organization_application, service_plane, tenant_plane
from freehold.api.admin.services import AdminServices
from freehold.api.azure import azure_routes
from freehold.api.body import JsonText
from freehold.api.dialect import Dialect, error_body, error_headers
from freehold.api.direct import Direct
from freehold.api.docs import docs_routes
from freehold.api.edge import Edge, dialect_of
from freehold.api.health import health_routes
from freehold.api.jobs import job_routes
from freehold.api.lineage import lineage_routes
from freehold.api.openai import Forms, openai_routes
from freehold.api.operation import Operation, PlainBody, Plane
from freehold.api.organization import organization_routes
from freehold.api.picture_files import picture_routes
from freehold.api.provenance import provenance_routes
from freehold.api.receipts import receipt_routes
from freehold.api.refused import why_refused
from freehold.api.reply import Handler
from freehold.api.signin.routes import SignInServices, signin_routes
from freehold.api.signin.sessions import session_routes
from freehold.api.trainings import training_routes
from freehold.config import ServerSettings
from freehold.errors import FreeholdError, InternalError, MethodNotAllowed, NotFound
from freehold.gateway.file_uploads import PART_BYTES
from freehold.gateway.idempotency import KeptAnswers
from freehold.gateway.metrics import Metrics
from freehold.gateway.pipeline import Gateway
from freehold.gateway.provenance import Provenance
from freehold.gateway.receipts import Receipts
from freehold.gateway.traces import Traces
from freehold.gateway.trainings import Trainings
from freehold.journal.projection_reports import UsageReports

FORM_BYTES: Final = 1024 * 1024
"""How much longer a form may be than the file in it."""


@dataclass(frozen=True, slots=True)
class ApplicationServices:
    """What the application serves.

    Args:
        gateway: the data plane.
        kept: answers that an `Idempotency-Key` brings back.
        receipts: what the journal says of requests.
        traces: what stands behind answers.
        reports: usage and costs.
        provenance: where pictures came from.
        admin: the control plane.
        trainings: what submits trainings from nothing.
    """

    gateway: Gateway
    kept: KeptAnswers
    receipts: Receipts
    traces: Traces
    reports: UsageReports
    provenance: Provenance
    admin: AdminServices
    trainings: Trainings


def build_application(services: ApplicationServices, bounds: ServerSettings, *, pages: list[BaseRoute]) -> ASGIApp:
    """Put the routes together.

    Args:
        services: what to serve.
        bounds: the limits of requests' bodies, and where callers reach the server.
        pages: routes of the web product, tried last.
    """
    gateway, admin, metrics, changes = services.gateway, services.admin, Metrics(), Changes()
    gateway.books.on_close(metrics.closed)
    plane = Plane(gateway, admin.people.door, metrics, services.kept, bounds.max_body_bytes, bounds.public_url)
    form_bytes = {
        Forms.NONE: 0,
        Forms.PICTURES: bounds.max_upload_bytes,
        Forms.FILES: gateway.files.settings.max_bytes + FORM_BYTES,
        Forms.PARTS: PART_BYTES + FORM_BYTES,
    }

    def operation(
        route: str,
        handler: Handler,
        dialect: Dialect,
        *,
        has_body: bool = True,
        forms: Forms = Forms.NONE,
        plain: PlainBody = JsonText,
    ) -> Operation:
        return Operation(route, handler, plane, dialect, has_body, form_bytes[forms], plain)

    signin = SignInServices(admin.people.identity, admin.people.directory, admin.journal, bounds.public_url)
    routes: list[BaseRoute] = [
        *health_routes(admin, gateway.flights, metrics),
        *receipt_routes(operation, services.receipts),
        *lineage_routes(operation, services.traces),
        *job_routes(operation),
        *training_routes(operation, services.trainings),
        *provenance_routes(operation, services.provenance),
        *organization_routes(operation, services.reports),
        Mount("/v1/organization", organization_application(admin, changes, bounds.max_body_bytes)),
        *picture_routes(gateway.picture_files),
        *openai_routes(operation),
        *azure_routes(operation),
        Mount("/admin", admin_application(admin, changes, bounds.max_body_bytes)),
        *docs_routes(admin.people.door, partial(tenant_plane, admin), partial(service_plane, admin, changes)),
        *signin_routes(signin),
        *session_routes(signin, admin.people.door),
        *pages,
    ]
    application = Starlette(
        routes=routes,
        exception_handlers=PROBLEMS,
    )
    application.router.redirect_slashes = False
    return Edge(Direct(application, routes))


async def _http_problem(request: Request, exc: Exception) -> Response:
    """What the router finds: no such path, or not with this method."""
    assert isinstance(exc, HTTPException), "registered for this class only"
    where = f"{request.method} {request.url.path}"
    error: FreeholdError = NotFound(f"Invalid URL ({where}).", code="unknown_url")
    if dialect_of(request.scope) is Dialect.AZURE:
        error = NotFound("Resource not found", code="404")
    why = why_refused(request.url.path)
    if why is not None:
        error = NotFound(f"This operation is not available ({where}): {why}.", code="operation_not_available")
    elif exc.status_code == 405:
        error = MethodNotAllowed(f"Not allowed to {request.method} on {request.url.path}.")
    response = await _problem(request, error)
    response.headers.update({} if why is not None else exc.headers or {})
    return response


async def _defect(request: Request, _exc: Exception) -> Response:
    """A defect, told as such; the framework raises it again, and the edge logs it."""
    return await _problem(request, InternalError("The server had an error while processing your request."))


async def _problem(request: Request, exc: Exception) -> Response:
    """An error of ours, in the dialect of the path."""
    assert isinstance(exc, FreeholdError), "registered for this class only"
    return Response(
        orjson.dumps(error_body(exc, dialect_of(request.scope))),
        exc.status,
        error_headers(exc),
        media_type="application/json",
    )


PROBLEMS: Final[dict[Any, Callable[[Request, Exception], Awaitable[Response]]]] = {
    HTTPException: _http_problem,
    FreeholdError: _problem,
    Exception: _defect,
}
"""What becomes of exceptions that no route has caught."""
