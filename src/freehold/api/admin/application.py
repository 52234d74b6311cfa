"""The control plane under `/admin`: a FastAPI application behind the owner's credential."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from freehold import __version__
from freehold.api.admin.deployments import deployment_routes
from freehold.api.admin.keys import key_routes
from freehold.api.admin.models import model_routes
from freehold.api.admin.status import status_routes
from freehold.api.dialect import Dialect, error_body, error_headers
from freehold.api.edge import JsonBody
from freehold.catalog.catalog import Catalog
from freehold.errors import FreeholdError, InternalError, InvalidRequest, MethodNotAllowed, NotFound
from freehold.gateway.control import DeploymentControl
from freehold.governance.authorization import Action, require
from freehold.governance.credentials import credential_from
from freehold.governance.keys import KeyRing

log = structlog.get_logger("freehold.admin")


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the control plane works on."""

    keys: KeyRing
    control: DeploymentControl
    catalog: Catalog


class OwnersDoor:
    """Lets the owner through, before a byte of the body is read and before any path is looked up."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on.

        Raises:
            Unauthenticated, Forbidden: it is not the owner's.
        """
        assert scope["type"] == "http", "the server speaks nothing else"
        principal = self._keys.authenticate(credential_from(scope["headers"]))
        require(principal, Action.MANAGE, scope["path"])
        log.info(
            "admin_request",
            request_id=scope["state"]["request_id"],
            method=scope["method"],
            path=scope["path"],
            key_id=principal.key_id,
        )
        await self._app(scope, receive, send)


def admin_application(services: AdminServices, max_body_bytes: int) -> ASGIApp:
    """The application behind its door, to be mounted under `/admin`; `owners_application` within a body limit."""
    return OwnersDoor(JsonBody(owners_application(services), max_body_bytes), services.keys)


def owners_application(services: AdminServices) -> FastAPI:
    """The routes, without their door."""
    app = FastAPI(
        title="Freehold administration",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.include_router(deployment_routes(services.control))
    app.include_router(key_routes(services.keys))
    app.include_router(model_routes(services.catalog, services.control))
    app.include_router(status_routes())
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
