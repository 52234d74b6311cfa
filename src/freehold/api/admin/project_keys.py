"""`/v1/organization/projects/{project_id}/api_keys`, as in OpenAI's administration API.

Making and rotating keys by these paths is Freehold's own: OpenAI has it only for service accounts. Users who can call
deployments in a project make, see, rotate and revoke their own keys in it without any further role; of others' keys
they learn nothing.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import actions_at, allow, caller, record
from freehold.api.admin.pages import After, Limit, page
from freehold.api.admin.roles import check_rank
from freehold.errors import Conflict, Forbidden
from freehold.governance.directory import WHOLE, Directory, absent
from freehold.governance.keys import PREFIX, KeyRing
from freehold.governance.limits import LimitRegistry
from freehold.store.keys import KeyRow
from freehold.types.identity import Action, KeyScope, MemberKind
from freehold.types.limits import Scope

DAY_S = 86_400
MOST_OVERLAP_S = 90 * DAY_S
MOST_OWN_KEYS = 100
"""So many valid keys a user may keep in a project without being an administrator there."""
READ = allow(Action.READ_KEYS, own_keys=True)
WRITE = allow(Action.WRITE_KEYS, own_keys=True)


class ScopeBody(BaseModel):
    """What a key is cut down to; whatever is left out is not restricted."""

    model_config = ConfigDict(extra="forbid")

    models: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(default=None, max_length=100)
    operations: list[Action] | None = None
    ip_ranges: list[str] | None = Field(default=None, max_length=100)

    def scope(self) -> KeyScope:
        """The scope."""
        return KeyScope(
            None if self.models is None else tuple(self.models),
            None if self.operations is None else tuple(self.operations),
            None if self.ip_ranges is None else tuple(self.ip_ranges),
        )


class NewKey(BaseModel):
    """A key to be made: the caller's own, unless it is for a service account or another user."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=256)]
    owner_id: str | None = None
    scope: ScopeBody = ScopeBody()
    expires_in_seconds: Annotated[int, Field(ge=60, le=10 * 365 * DAY_S)] | None = None


class Rotation(BaseModel):
    """How long the old key goes on beside the new one, in seconds."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[int, Field(ge=0, le=MOST_OVERLAP_S)] = DAY_S


def project_key_routes(directory: Directory, keys: KeyRing, limits: LimitRegistry) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["api keys"])
    path = "/projects/{project_id}/api_keys"
    one = path + "/{api_key_id}"
    reach = _Reach(directory, keys)

    @router.get(path, dependencies=[READ])
    async def list_keys(
        request: Request,
        project_id: str,
        limit: Limit = 20,
        after: After = None,
        owner_project_access: Literal["active", "inactive", "any"] = "any",
        *,
        details: bool = False,
    ) -> dict[str, Any]:
        """The project's keys that are not revoked; without a role that reads keys, one's own.

        With `details` each tells its `scope` and `expires_at` too.
        """
        rows = reach.rows(request, Action.READ_KEYS, project_id)
        shown = [row for row in rows if owner_project_access in {"any", _access(directory, row)}]
        told = own_object if details else key_object
        return page(shown, lambda row: told(directory, row), limit=limit, after=after)

    @router.post(path, dependencies=[WRITE])
    async def create_key(request: Request, project_id: str, body: NewKey) -> dict[str, Any]:
        """Make a key. The answer is the only place where it stands."""
        principal = caller(request)
        directory.active_project(principal.organization_id, project_id)
        reach.check_may_make(request, body.owner_id or principal.id, project_id)
        owner = directory.member(body.owner_id or principal.id)
        if owner is None or owner.organization_id != principal.organization_id:
            raise absent("member", body.owner_id or principal.id)
        if owner.project_id not in {None, project_id}:
            raise Forbidden("A service account has keys in its own project only.")
        row, value = await keys.create(
            body.name, owner, project_id, body.scope.scope(), lifetime_s=body.expires_in_seconds
        )
        record(request, "api_key.created", "api_key", row.id, after=own_object(directory, row), project_id=project_id)
        return {**own_object(directory, row), "value": value}

    @router.get(one, dependencies=[READ])
    async def retrieve_key(request: Request, project_id: str, api_key_id: str) -> dict[str, Any]:
        """One key."""
        return key_object(directory, reach.find(request, Action.READ_KEYS, project_id, api_key_id))

    @router.post(one + "/rotate", dependencies=[WRITE])
    async def rotate_key(request: Request, project_id: str, api_key_id: str, body: Rotation) -> dict[str, Any]:
        """Make a successor with the same owner, scope and limits; the old key ends after the overlap."""
        old = reach.find(request, Action.WRITE_KEYS, project_id, api_key_id)
        reach.check_may_make(request, old.owner_id, project_id)
        before = own_object(directory, old)
        row, value = await keys.rotate(api_key_id, body.overlap_seconds)
        passed = await limits.pass_on(Scope.KEY, api_key_id, row.id)
        after = {
            "old": own_object(directory, keys.row(api_key_id)),
            "new": own_object(directory, row),
            "limits": None if passed is None else passed.wire(),
        }
        record(request, "api_key.updated", "api_key", api_key_id, before=before, after=after, project_id=project_id)
        return {**own_object(directory, row), "value": value, "replaces": own_object(directory, keys.row(api_key_id))}

    @router.delete(one, dependencies=[WRITE])
    async def delete_key(request: Request, project_id: str, api_key_id: str) -> dict[str, Any]:
        """Revoke a key; its running requests end at once."""
        before = own_object(directory, reach.find(request, Action.WRITE_KEYS, project_id, api_key_id))
        await keys.revoke(api_key_id)
        record(request, "api_key.deleted", "api_key", api_key_id, before=before, project_id=project_id)
        return {"object": "organization.project.api_key.deleted", "id": api_key_id, "deleted": True}

    return router


class _Reach:
    """With which keys of a project a caller may do what: all of them, or its own."""

    def __init__(self, directory: Directory, keys: KeyRing) -> None:
        self._directory = directory
        self._keys = keys

    def rows(self, request: Request, action: Action, project_id: str) -> list[KeyRow]:
        """The project's valid keys with which the caller may do this."""
        principal = caller(request)
        every = action in actions_at(request, project_id)
        return [
            row
            for row in self._keys.rows(principal.organization_id)
            if row.project_id == project_id and row.revoked_at is None and (every or row.owner_id == principal.id)
        ]

    def find(self, request: Request, action: Action, project_id: str, key_id: str) -> KeyRow:
        """One of those. Raises NotFound, or Forbidden if the caller may see the key but not do this."""
        for allowed in (action, Action.READ_KEYS):
            row = next((row for row in self.rows(request, allowed, project_id) if row.id == key_id), None)
            if row is not None and allowed is action:
                return row
            if row is not None:
                raise Forbidden(f"You are not allowed to do this: '{action}' of others' keys needs another role.")
        raise absent("API key", key_id)

    def check_may_make(self, request: Request, owner_id: str, project_id: str) -> None:
        """Return if the caller may make another key of this owner's.

        Whoever gets a key in hand can do what its owner may, so that must not be more than the caller may.

        Raises:
            Forbidden: it may not.
            Conflict: it has as many as it may.
        """
        own = owner_id == caller(request).id
        if Action.WRITE_KEYS in actions_at(request, project_id):
            if not own:
                check_rank(request, self._directory, owner_id, project_id)
                check_rank(request, self._directory, owner_id, WHOLE)
        elif not own:
            raise Forbidden("You may only make keys of your own here.")
        elif len(self.rows(request, Action.WRITE_KEYS, project_id)) >= MOST_OWN_KEYS:
            raise Conflict(f"You have {MOST_OWN_KEYS} keys in this project; revoke one first.")


def _access(directory: Directory, row: KeyRow) -> str:
    """Whether the owner still holds a role in the key's project."""
    owner = directory.member(row.owner_id)
    gone = owner is None or owner.disabled_at is not None or not directory.held(row.owner_id, row.project_id)
    return "inactive" if gone else "active"


def key_object(directory: Directory, row: KeyRow) -> dict[str, Any]:
    """A project's key as OpenAI's API shows it."""
    owner = directory.member(row.owner_id)
    kind = MemberKind.SERVICE_ACCOUNT if owner is None else MemberKind(owner.kind)
    person: dict[str, Any] = {
        "id": row.owner_id,
        "name": owner.name if owner else "",
        "created_at": owner.created_at if owner else row.created_at,
        "role": next(iter(sorted(directory.held(row.owner_id, row.project_id))), "none"),
    }
    if kind is MemberKind.USER:
        person |= {"email": (owner.email if owner else None) or ""}
    return {
        "object": "organization.project.api_key",
        "redacted_value": f"{PREFIX}****{row.last4}",
        "name": row.name,
        "created_at": row.created_at,
        "last_used_at": row.last_used_at,
        "id": row.id,
        "owner_project_access": _access(directory, row),
        "owner": {"type": kind.value, kind.value: person},
    }


def own_object(directory: Directory, row: KeyRow) -> dict[str, Any]:
    """A key with what is Freehold's own: scope and end."""
    return {
        **key_object(directory, row),
        "project_id": row.project_id,
        "scope": dict(row.scope),
        "expires_at": row.expires_at,
    }
