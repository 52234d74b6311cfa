"""`/session` and `/sessions`: who somebody is, in which project they act, and where else they are signed in."""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from freehold.api.body import parse, read_json
from freehold.api.door import Door
from freehold.api.signin.cookies import SESSION, set_cookie
from freehold.api.signin.journal import record_signin
from freehold.api.signin.routes import SignInServices
from freehold.errors import Forbidden
from freehold.governance.directory import WHOLE
from freehold.store.sessions import SessionRow
from freehold.types.base import RequestModel
from freehold.types.identity import Principal

MAX_BODY_BYTES = 16 * 1024


class ProjectBody(RequestModel):
    """The project to act in."""

    project_id: Annotated[str, Field(min_length=1, max_length=64)]


class PasswordBody(RequestModel):
    """The password that holds, and the one that is to."""

    current_password: Annotated[str, Field(max_length=1024)]
    password: Annotated[str, Field(max_length=1024)]


def session_routes(services: SignInServices, door: Door) -> list[BaseRoute]:
    """The routes. All but the first are for browsers: they need a session."""
    api = _Api(services, door)
    return [
        Route("/session", api.show, methods=["GET"]),
        Route("/session", api.end_own, methods=["DELETE"]),
        Route("/session/project", api.choose_project, methods=["POST"]),
        Route("/session/password", api.change_password, methods=["POST"]),
        Route("/sessions", api.list_all, methods=["GET"]),
        Route("/sessions", api.end_all, methods=["DELETE"]),
        Route("/sessions/{session_id}", api.end_one, methods=["DELETE"]),
    ]


class _Api:
    def __init__(self, services: SignInServices, door: Door) -> None:
        self._services = services
        self._door = door
        self._sessions = services.identity.sessions

    async def show(self, request: Request) -> Response:
        """Who the caller is and which projects they can act in; whatever they have shown."""
        return _json(self._shown(await self._door.authenticate(request.scope)))

    async def choose_project(self, request: Request) -> Response:
        """Act in another project from now on."""
        principal = await self._of_session(request)
        body = parse(ProjectBody, await read_json(request.scope, request.receive, MAX_BODY_BYTES))
        self._door.actions_in_known(principal, body.project_id)
        await self._sessions.choose_project(principal.session_id, body.project_id)
        return _json(self._shown(await self._door.authenticate(request.scope)))

    async def change_password(self, request: Request) -> Response:
        """Give oneself another password; every session ends, this one too."""
        principal = await self._of_session(request)
        body = parse(PasswordBody, await read_json(request.scope, request.receive, MAX_BODY_BYTES))
        member = self._services.directory.user(principal.organization_id, principal.id)
        address = request.client.host if request.client else ""
        self._services.journal.check()
        await self._services.identity.accounts.change_password(member, body.current_password, body.password, address)
        await self._record(request, "user.password_set", principal)
        return _signed_out({"object": "session", "id": principal.session_id, "deleted": True})

    async def list_all(self, request: Request) -> Response:
        """Where the caller is signed in."""
        principal = await self._of_session(request)
        rows = self._sessions.of(principal.id)
        return _json({"object": "list", "data": [_session(row, principal) for row in rows]})

    async def end_own(self, request: Request) -> Response:
        """Sign out."""
        principal = await self._of_session(request)
        await self._sessions.end(principal.id, principal.session_id)
        await self._record(request, "logout.succeeded", principal)
        return _signed_out({"object": "session", "id": principal.session_id, "deleted": True})

    async def end_all(self, request: Request) -> Response:
        """Sign out everywhere."""
        principal = await self._of_session(request)
        ended = await self._sessions.end_all(principal.id)
        await self._record(request, "logout.succeeded", principal)
        return _signed_out({"object": "list", "deleted": ended})

    async def end_one(self, request: Request) -> Response:
        """Sign out on another device."""
        principal = await self._of_session(request)
        session_id = request.path_params["session_id"]
        await self._sessions.end(principal.id, session_id)
        await self._record(request, "logout.succeeded", principal)
        return _json({"object": "session", "id": session_id, "deleted": True})

    async def _of_session(self, request: Request) -> Principal:
        """The caller, who must have a session.

        Raises:
            Unauthenticated: nobody.
            Forbidden: somebody without one.
        """
        principal = await self._door.authenticate(request.scope)
        if not principal.session_id:
            raise Forbidden(
                "This is for people who are signed in with a browser; keys and tokens have no session.",
                code="session_required",
            )
        return principal

    async def _record(self, request: Request, event: str, principal: Principal) -> None:
        await record_signin(
            self._services.journal,
            request.scope,
            event,
            organization_id=principal.organization_id,
            member_id=principal.id,
            method="session",
            status=200,
        )

    def _shown(self, principal: Principal) -> dict[str, Any]:
        directory = self._services.directory
        member = directory.member(principal.id)
        projects = [
            each
            for each in directory.projects(principal.organization_id)
            if self._door.actions_in(principal, each.id) or each.id == principal.project_id
        ]
        return {
            "object": "session",
            "id": principal.session_id or None,
            "auth_method": principal.auth_method,
            "expires_at": principal.expires_at,
            "principal": {
                "id": principal.id,
                "kind": principal.kind.value,
                "name": principal.name,
                "email": member.email if member is not None else None,
            },
            "organization": {
                "id": principal.organization_id,
                "name": directory.organization(principal.organization_id).name,
            },
            "project_id": None if principal.project_id == WHOLE else principal.project_id,
            "projects": [{"id": each.id, "name": each.name} for each in projects],
            "roles": sorted(principal.roles),
            "actions": sorted(principal.actions),
            "organization_actions": sorted(principal.organization_actions),
        }


def _session(row: SessionRow, principal: Principal) -> dict[str, Any]:
    return {
        "object": "session",
        "id": row.id,
        "current": row.id == principal.session_id,
        "method": row.method,
        "user_agent": row.user_agent,
        "created_at": row.created_at,
        "last_used_at": row.seen_at,
        "expires_at": row.expires_at,
    }


def _json(body: dict[str, Any]) -> Response:
    return JSONResponse(body, headers={"cache-control": "no-store"})


def _signed_out(body: dict[str, Any]) -> Response:
    response = _json(body)
    response.headers.append(*set_cookie(SESSION, "", 0))
    return response
