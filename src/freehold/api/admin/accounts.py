"""`/v1/organization/users/…`: what OpenAI's administration API has not, because people sign in elsewhere there.

Users made without an invitation, passwords, links to set one, disabled accounts and sessions.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.roles import check_rank, given_roles
from freehold.api.admin.users import user_object
from freehold.api.body import origin_of
from freehold.api.door import People
from freehold.governance.directory import WHOLE
from freehold.identity.passwords import check_password
from freehold.store.directory import MemberRow
from freehold.types.identity import Action


class NewUser(BaseModel):
    """Whom to make a user."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    email: Annotated[str, Field(max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")]
    name: Annotated[str, Field(max_length=256)] = ""
    role: str = "reader"
    password: Annotated[str, Field(max_length=1024)] | None = None


class NewPassword(BaseModel):
    """The password to give."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    password: Annotated[str, Field(max_length=1024)]


def link_url(request: Request, token: str) -> str:
    """Where somebody goes with the secret of a link; from where the caller sees the server, if nothing else is set."""
    origin = request.scope["state"]["door"].public_url or origin_of(request.scope)
    return f"{origin}/signin/link/{token}"


def account_routes(people: People) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["users"])
    directory, accounts, sessions = people.directory, people.identity.accounts, people.identity.sessions

    def changed(request: Request, user_id: str) -> MemberRow:
        """The user, if the caller may do all that the user may do: whoever has the account can act as its owner."""
        row = directory.user(caller(request).organization_id, user_id)
        for place in (WHOLE, *directory.memberships(row.id)):
            check_rank(request, directory, row.id, place)
        return row

    def shown(row: MemberRow) -> dict[str, Any]:
        return user_object(directory, people.keys, row)

    @router.post("/users", dependencies=[allow(Action.WRITE_USERS)])
    async def create_user(request: Request, body: NewUser) -> dict[str, Any]:
        """Make a user, with a password or without one, as for people who sign in through a provider."""
        roles = given_roles(request, directory, [body.role], WHOLE)
        if body.password is not None:
            check_password(body.password, body.email)
        row = await directory.create_user(
            caller(request).organization_id, body.email, body.name.strip() or body.email, roles
        )
        if body.password is not None:
            await accounts.set_password(row, body.password)
        record(request, "user.added", "user", row.id, after=shown(row))
        return shown(row)

    @router.post("/users/{user_id}/password", dependencies=[allow(Action.WRITE_USERS)])
    async def set_password(request: Request, user_id: str, body: NewPassword) -> dict[str, Any]:
        """Give a user a password; their sessions end."""
        row = changed(request, user_id)
        await accounts.set_password(row, body.password)
        record(request, "user.password_set", "user", row.id, before=shown(row), after=shown(row))
        return shown(row)

    @router.post("/users/{user_id}/password_link", dependencies=[allow(Action.WRITE_USERS)])
    async def make_link(request: Request, user_id: str) -> dict[str, Any]:
        """A link with which a user may set a password once, within a day; the one before holds no more."""
        row = changed(request, user_id)
        token = await accounts.link(row)
        record(request, "user.password_link_made", "user", row.id, before=shown(row), after=shown(row))
        return {"object": "organization.user.password_link", "id": row.id, "url": link_url(request, token)}

    @router.post("/users/{user_id}/disable", dependencies=[allow(Action.WRITE_USERS)])
    async def disable(request: Request, user_id: str) -> dict[str, Any]:
        """Disable a user: keys, tokens and sessions open nothing any more, and what runs ends at once."""
        return await able(request, user_id, disabled=True)

    @router.post("/users/{user_id}/enable", dependencies=[allow(Action.WRITE_USERS)])
    async def enable(request: Request, user_id: str) -> dict[str, Any]:
        """Let a disabled user in again; they have to sign in anew."""
        return await able(request, user_id, disabled=False)

    async def able(request: Request, user_id: str, *, disabled: bool) -> dict[str, Any]:
        before = shown(changed(request, user_id))
        row = await directory.update_member(user_id, disabled=disabled)
        await sessions.end_all(row.id)
        record(
            request, "user.disabled" if disabled else "user.enabled", "user", row.id, before=before, after=shown(row)
        )
        return shown(row)

    @router.delete("/users/{user_id}/sessions", dependencies=[allow(Action.WRITE_USERS)])
    async def end_sessions(request: Request, user_id: str) -> dict[str, Any]:
        """Sign a user out everywhere."""
        row = changed(request, user_id)
        ended = await sessions.end_all(row.id)
        record(request, "user.signed_out", "user", row.id, before=shown(row), after=shown(row))
        return {"object": "organization.user.sessions.deleted", "id": row.id, "deleted": ended}

    return router
