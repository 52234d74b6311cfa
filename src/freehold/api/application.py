"""The ASGI application: every route in one list, outermost layer first."""

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp

from freehold.api.admin.application import AdminServices, admin_application
from freehold.api.azure import azure_routes
from freehold.api.dialect import Dialect, error_body, error_headers
from freehold.api.edge import Edge, dialect_of
from freehold.api.health import health_routes
from freehold.api.openai import openai_routes
from freehold.api.operation import Handler, Operation
from freehold.errors import FreeholdError, InternalError, MethodNotAllowed, NotFound
from freehold.gateway.metrics import Metrics
from freehold.gateway.pipeline import Gateway


def build_application(
    gateway: Gateway,
    admin: AdminServices,
    *,
    max_body_bytes: int,
    pages: list[BaseRoute],
) -> ASGIApp:
    """Put the routes together.

    Args:
        gateway: serves the data plane.
        admin: what the control plane works on.
        max_body_bytes: the limit of a request's body.
        pages: routes of the web product, tried last.
    """
    metrics = Metrics()

    def operation(route: str, handler: Handler, dialect: Dialect, *, has_body: bool = True) -> Operation:
        return Operation(route, handler, gateway, metrics, dialect, max_body_bytes, has_body)

    routes: list[BaseRoute] = [
        *health_routes(admin.control, gateway.flights, metrics),
        *openai_routes(operation),
        *azure_routes(operation),
        Mount("/admin", admin_application(admin, max_body_bytes)),
        *pages,
    ]
    application = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _http_problem, FreeholdError: _problem, Exception: _defect},
    )
    application.router.redirect_slashes = False
    return Edge(application)


async def _http_problem(request: Request, exc: Exception) -> Response:
    """What the router finds: no such path, or not with this method."""
    assert isinstance(exc, HTTPException), "registered for this class only"
    where = f"{request.method} {request.url.path}"
    error: FreeholdError = NotFound(f"Invalid URL ({where}).", code="unknown_url")
    if dialect_of(request.scope) is Dialect.AZURE:
        error = NotFound("Resource not found", code="404")
    if exc.status_code == 405:
        error = MethodNotAllowed(f"Not allowed to {request.method} on {request.url.path}.")
    response = await _problem(request, error)
    response.headers.update(exc.headers or {})
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
