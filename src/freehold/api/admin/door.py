"""The door of the control plane: lets administrators through, and has every change recorded.

A route says by `allow` which action it is; a test holds that each one does. What a change was is told by `record`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import Depends, Request
from fastapi.params import Depends as Dependency
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freehold.api.admin.changes import Change, Changes
from freehold.api.door import Door, may_keep_own_keys
from freehold.errors import Forbidden, NotFound
from freehold.governance.directory import ORGANIZATION, WHOLE
from freehold.journal.journal import Journal, Position
from freehold.journal.records import Kind, canonical, plain
from freehold.types.identity import Action, Principal
from freehold.types.limits import LIMITED

log = structlog.get_logger("freehold.admin")

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_TOLD = ("role", "roles", "scope", *LIMITED)
"""What of a changed object stands in the journal as it is: what it allows."""


class AdminDoor:
    """Lets administrators through, before a byte of the body is read and before any path is looked up.

    Every action that may change something is in the journal before its answer is sent, and none is done when the
    journal cannot be written.

    Args:
        app: what is behind the door.
        door: knows who is asking.
        journal: where actions are recorded.
        changes: is told of each that begins, and when it is recorded.
        everybody: whether members of every organization may come, or only those of the one that runs the service.
    """

    def __init__(self, app: ASGIApp, door: Door, journal: Journal, changes: Changes, *, everybody: bool) -> None:
        self._app = app
        self._door = door
        self._journal = journal
        self._changes = changes
        self._everybody = everybody

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on.

        Raises:
            Unauthenticated, Forbidden: it is not an administrator's.
            NotFound: it is another organization's member's.
            AuditUnavailable: it would change something, and cannot be recorded.
        """
        assert scope["type"] == "http", "the server speaks nothing else"
        principal = await self._door.authenticate(scope)
        if not self._everybody and principal.organization_id != ORGANIZATION:
            raise NotFound("There is nothing here for you.", code="unknown_url")
        if not self._door.administers(principal) and not (self._everybody and self._door.keeps_own_keys(principal)):
            held = ", ".join(f"'{role}'" for role in sorted(principal.roles)) or "none"
            raise Forbidden(f"You are not allowed to do this: no role of yours allows administration; held: {held}.")
        scope["state"] |= {"principal": principal, "door": self._door}
        log.info(
            "admin_request",
            request_id=scope["state"]["request_id"],
            method=scope["method"],
            path=scope["path"],
            principal=principal.id,
            key_id=principal.key_id or None,
        )
        if scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        self._journal.check()
        with self._changes.begin() as change:
            recorder = scope["state"]["recorder"] = _Recorder(self._journal, scope, principal, send, change)
            await self._app(scope, receive, recorder.send)


class _Recorder:
    """The way back of an administrative action: what it came to is recorded before the answer begins."""

    def __init__(self, journal: Journal, scope: Scope, principal: Principal, send: Send, change: Change) -> None:
        self._journal = journal
        self._scope = scope
        self._principal = principal
        self._send = send
        self._change = change
        self._written = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self._written:
                await self.write(message["status"])
            self._change.end()
        await self._send(message)

    async def write(self, status: int) -> Position:
        """Write the record; where it stands, when it is on the disk."""
        state = self._scope["state"]
        principal = self._principal
        body = {
            "request_id": state["request_id"],
            "method": self._scope["method"],
            "path": self._scope["path"],
            "status": status,
            "organization_id": principal.organization_id,
            "project_id": principal.project_id or None,
            "principal": principal.id,
            "principal_kind": principal.kind.value,
            "key_id": principal.key_id or None,
            "auth_method": principal.auth_method,
            "authorization": state.get("authorization"),
            **(state["recorded"].body() if "recorded" in state else {}),
        }
        position = await self._journal.submit(Kind.ADMIN, body, durable=True)
        self._written = True
        return position


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was changed, and to what."""

    event: str
    resource_type: str
    resource_id: str
    resource_project_id: str | None
    before_sha256: str | None
    after_sha256: str | None
    details: Mapping[str, Any] | None = None

    def body(self) -> dict[str, Any]:
        """What stands in the journal."""
        return {name: getattr(self, name) for name in Recorded.__slots__}


def record(
    request: Request,
    event: str,
    resource_type: str,
    resource_id: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    project_id: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Tell what a call has changed; once a call, when it is done.

    Args:
        request: the call.
        event: what happened, as `project.created`.
        resource_type: to what kind of object.
        resource_id: to which.
        before: the object as it was; None if there was none. Its digest is recorded, never the object.
        after: the object as it is; None if it is no more.
        project_id: in which project, if in one.
        details: what an auditor must be able to read rather than compare, besides what is always told of the object
            as it is (`_TOLD`). They stay in the journal, so nothing personal and nothing secret may be among them.
    """
    state = request.scope["state"]
    assert "recorded" not in state, "a call is recorded once"
    digests = digest_of(before), digest_of(after)
    told = {name: after[name] for name in _TOLD if after.get(name) is not None} if after else {}
    all_details = {**told, **(details or {})} or None
    state["recorded"] = Recorded(event, resource_type, resource_id, project_id, *digests, all_details)


async def recorded(request: Request, status: int = 200) -> Position:
    """Write the record of a call now, after `record`, for an answer that tells where it stands.

    Raises:
        AuditUnavailable: it cannot be written.
    """
    recorder: _Recorder = request.scope["state"]["recorder"]
    return await recorder.write(status)


def digest_of(value: Mapping[str, Any] | None) -> str | None:
    """SHA-256 of an object's canonical form, in hex; None of nothing. Fractions count as their text."""
    return None if value is None else hashlib.sha256(canonical(plain(_exact(value)))).hexdigest()


def _exact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    return repr(value) if isinstance(value, float) else value


@dataclass(frozen=True, slots=True)
class Allow:
    """A dependency that lets those through who may do an action.

    On a path with a `project_id` that is who may do it in that project; whoever may do nothing there is told that there
    is no such project. On other paths it is who may do it in the organization or, where `own_project` says that the
    route keeps to the caller's project by itself, there. Where `own_keys` says that the route keeps to the caller's own
    keys by itself, those come too who may keep such in the project.
    """

    action: Action
    own_project: bool = False
    own_keys: bool = False

    def __call__(self, request: Request) -> None:
        """Raise Forbidden or NotFound if the caller may not."""
        state = request.scope["state"]
        principal: Principal = state["principal"]
        project_id = request.path_params.get("project_id")
        if project_id is not None:
            actions = state["door"].actions_in_known(principal, project_id)
        elif self.own_project:
            actions = principal.actions | principal.organization_actions
        else:
            actions = principal.organization_actions
        held = ", ".join(f"'{role}'" for role in sorted(principal.roles)) or "none"
        own = self.own_keys and may_keep_own_keys(principal, actions)
        if self.action not in actions and not own:
            where = "" if project_id is not None or self.own_project else " in the organization"
            reason = f"'{self.action}' needs a role that gives it{where}; the roles held: {held}"
            state["authorization"] = f"deny: {reason}"
            raise Forbidden(f"You are not allowed to do this: {reason}.")
        what = f"'{self.action}'" if self.action in actions else f"'{self.action}' of one's own keys"
        state["authorization"] = f"allow: {what} is allowed by the roles {held}"


def allow(action: Action, *, own_project: bool = False, own_keys: bool = False) -> Dependency:
    """What a route must depend on: who may do the action. See `Allow`."""
    dependency: Dependency = Depends(Allow(action, own_project, own_keys))
    return dependency


def actions_at(request: Request, project_id: str) -> frozenset[Action]:
    """What the caller may do in a project; for `WHOLE` in the organization."""
    principal = caller(request)
    if project_id == WHOLE:
        return principal.organization_actions
    door: Door = request.scope["state"]["door"]
    return door.actions_in(principal, project_id)


def caller(request: Request) -> Principal:
    """Who calls."""
    principal: Principal = request.scope["state"]["principal"]
    return principal
