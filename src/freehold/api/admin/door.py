"""What the control plane's routes say to its door: who may call them, and what a call has changed.

A route says by `allow` which action it is; a test holds that each one does. What a change was is told by `record`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request
from fastapi.params import Depends as Dependency

from freehold.api.admin.entrance import Recorder
from freehold.api.door import Door, may_keep_own_keys
from freehold.errors import Forbidden
from freehold.governance.directory import WHOLE
from freehold.journal.journal import Position
from freehold.journal.records import canonical, plain
from freehold.types.identity import Action, Principal
from freehold.types.limits import LIMITED

_TOLD = ("role", "roles", "scope", *LIMITED)
"""What of a changed object stands in the journal as it is: what it allows."""


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
    recorder: Recorder = request.scope["state"]["recorder"]
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
