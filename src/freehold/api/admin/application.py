"""The control plane under `/admin`: a FastAPI application behind the owner's credential."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freehold import __version__
from freehold.api.admin.backup import backup_routes
from freehold.api.admin.changes import Change, Changes
from freehold.api.admin.deployments import deployment_routes
from freehold.api.admin.keys import key_routes
from freehold.api.admin.limits import limit_routes
from freehold.api.admin.models import model_routes
from freehold.api.admin.policies import policy_routes
from freehold.api.admin.status import status_routes
from freehold.api.admin.usage import usage_routes
from freehold.api.dialect import Dialect, error_body, error_headers
from freehold.api.edge import JsonBody
from freehold.catalog.catalog import Catalog
from freehold.errors import FreeholdError, InternalError, InvalidRequest, MethodNotAllowed, NotFound
from freehold.gateway.control import DeploymentControl
from freehold.gateway.ledger import Ledger
from freehold.governance.authorization import Action, require
from freehold.governance.credentials import credential_from
from freehold.governance.digests import Digests
from freehold.governance.keys import KeyRing
from freehold.governance.limits import LimitRegistry
from freehold.governance.policies import PolicyRegistry
from freehold.journal.journal import Journal
from freehold.journal.projection_reports import UsageReports
from freehold.journal.records import Kind
from freehold.types.identity import Principal

log = structlog.get_logger("freehold.admin")

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the control plane works on.

    Args:
        keys: who may call.
        control: what is deployed.
        catalog: which models there are.
        limits: what callers may use; `ledger` is what they have used of it.
        policies: which requests are allowed.
        journal: where every action is recorded.
        reports: usage and costs.
        digests: the names of end users.
    """

    keys: KeyRing
    control: DeploymentControl
    catalog: Catalog
    limits: LimitRegistry
    ledger: Ledger
    policies: PolicyRegistry
    journal: Journal
    reports: UsageReports
    digests: Digests


class OwnersDoor:
    """Lets the owner through, before a byte of the body is read and before any path is looked up.

    Every action that may change something is in the journal before its answer is sent, and none is done when the
    journal cannot be written.

    Args:
        app: what is behind the door.
        keys: who may pass.
        journal: where actions are recorded.
        changes: is told of each that begins, and when it is recorded.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing, journal: Journal, changes: Changes) -> None:
        self._app = app
        self._keys = keys
        self._journal = journal
        self._changes = changes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on.

        Raises:
            Unauthenticated, Forbidden: it is not the owner's.
            AuditUnavailable: it would change something, and cannot be recorded.
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
        if scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        self._journal.check()
        with self._changes.begin() as change:
            await self._app(scope, receive, _Recorded(self._journal, scope, principal, send, change).send)


class _Recorded:
    """The way back of an administrative action: what it came to is recorded before the answer begins."""

    def __init__(self, journal: Journal, scope: Scope, principal: Principal, send: Send, change: Change) -> None:
        self._journal = journal
        self._scope = scope
        self._principal = principal
        self._send = send
        self._change = change

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            body = {
                "request_id": self._scope["state"]["request_id"],
                "method": self._scope["method"],
                "path": self._scope["path"],
                "status": message["status"],
                "organization_id": self._principal.organization_id,
                "project_id": self._principal.project_id,
                "principal": self._principal.key_name,
                "key_id": self._principal.key_id,
                "auth_method": self._principal.auth_method,
            }
            await self._journal.submit(Kind.ADMIN, body, durable=True)
            self._change.end()
        await self._send(message)


def admin_application(services: AdminServices, max_body_bytes: int) -> ASGIApp:
    """The application behind its door, to be mounted under `/admin`; `owners_application` within a body limit."""
    changes = Changes()
    app = JsonBody(owners_application(services, changes), max_body_bytes)
    return OwnersDoor(app, services.keys, services.journal, changes)


def owners_application(services: AdminServices, changes: Changes) -> FastAPI:
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
    app.include_router(limit_routes(services.limits, services.ledger))
    app.include_router(policy_routes(services.policies))
    app.include_router(usage_routes(services.reports, services.digests.end_user))
    app.include_router(backup_routes(services.journal, changes))
    app.include_router(status_routes(services.journal, services.reports.projection))
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
