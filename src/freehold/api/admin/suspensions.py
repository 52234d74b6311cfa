"""`suspensions`: whom nothing is done for, where, why, and until when."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Self, TypeAlias

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from freehold.api.admin.door import actions_at, allow, caller, record
from freehold.api.admin.pages import After, Limit, page
from freehold.api.admin.subjects import (
    digests_of,
    kind_of,
    member_of,
    reaches,
    suspension_object,
    visible_projects,
)
from freehold.errors import Conflict, Forbidden, InvalidRequest, NotFound
from freehold.governance.directory import WHOLE, Directory
from freehold.governance.suspensions import EVERYWHERE, Suspensions
from freehold.store.suspensions import SuspensionRow
from freehold.types.abuse import MAX_REASON, SubjectKind
from freehold.types.identity import DATA_PLANE, Action

Names: TypeAlias = Annotated[list[str] | None, Query()]


class SuspendBody(BaseModel):
    """Whom to suspend, by id or, an end user, by the name that callers give it; without a project everywhere."""

    model_config = ConfigDict(extra="forbid")

    subject: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    end_user: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    project_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON)]
    tell: bool = False
    """Whether the caller is told the reason."""
    until: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Seconds since the epoch."""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.subject is None) == (self.end_user is None):
            raise ValueError("give 'subject' or 'end_user', one of them")
        return self


def suspension_routes(
    directory: Directory, suspensions: Suspensions, digest_end_user: Callable[[str], str]
) -> APIRouter:
    """The routes. Records name an end user by the digest that receipts have, and have the reason as it was given."""
    router = APIRouter(tags=["abuse"])

    @router.get("/suspensions", dependencies=[allow(Action.READ_ABUSE, own_project=True)])
    async def list_suspensions(
        request: Request,
        project: Names = None,
        end_user: Names = None,
        limit: Limit = 20,
        after: After = None,
    ) -> dict[str, Any]:
        """Who is suspended now; whoever may see this in a project only sees what is said for the project."""
        projects = visible_projects(request, Action.READ_ABUSE, project)
        rows = suspensions.all(caller(request).organization_id, projects)
        if end_user is not None:
            digests = digests_of(end_user, digest_end_user)
            rows = [row for row in rows if row.subject_id in digests]
        return page(rows, lambda row: suspension_object(directory, row), limit=limit, after=after)

    @router.post("/suspensions", status_code=201, dependencies=[allow(Action.WRITE_ABUSE, own_project=True)])
    async def suspend(request: Request, body: SuspendBody) -> dict[str, Any]:
        """Suspend an end user or a member from now on: what runs ends, nothing is begun. Again, to change it."""
        row = _row(request, directory, body, digest_end_user)
        before, made = await suspensions.put(row)
        _record(request, directory, "suspension.created" if before is None else "suspension.updated", before, made)
        return suspension_object(directory, made)

    @router.delete("/suspensions/{suspension_id}", dependencies=[allow(Action.WRITE_ABUSE, own_project=True)])
    async def resume(request: Request, suspension_id: str) -> dict[str, Any]:
        """Lift a suspension; requests are served again at once."""
        principal = caller(request)
        row = suspensions.get(principal.organization_id, suspension_id)
        if not reaches(request, Action.WRITE_ABUSE, row.project_id):
            raise NotFound(f"There is no suspension '{suspension_id[:64]}', or it has ended.")
        if row.subject_id == principal.id:
            raise Conflict("Nobody can lift a suspension of their own; have somebody else do it.")
        await suspensions.lift(principal.organization_id, suspension_id)
        _record(request, directory, "suspension.deleted", row, None)
        return {"object": "suspension", "id": row.id, "deleted": True}

    return router


def _row(
    request: Request, directory: Directory, body: SuspendBody, digest_end_user: Callable[[str], str]
) -> SuspensionRow:
    """The suspension that is asked for.

    Raises:
        NotFound: there is no such member, or no such project.
        Forbidden: the caller may not suspend there, or not whom it names.
        InvalidRequest: a project is no subject, or the end is over.
        Conflict: the caller names itself.
    """
    principal = caller(request)
    organization_id, project_id = principal.organization_id, body.project_id or EVERYWHERE
    if body.project_id is not None:
        directory.project(organization_id, body.project_id)
    if not reaches(request, Action.WRITE_ABUSE, project_id):
        where = "in the whole organization: name a project of yours" if not project_id else "in this project"
        raise Forbidden(f"You are not allowed to suspend anybody {where}.")
    if body.until is not None and body.until <= time.time():
        raise InvalidRequest("'until' must be later than now, in seconds since the epoch.", param="until")
    if body.end_user is not None:
        kind, (subject,) = SubjectKind.END_USER, digests_of([body.end_user], digest_end_user)
    else:
        subject = body.subject or ""
        kind = kind_of(directory, organization_id, subject)
    if kind is SubjectKind.PROJECT:
        raise InvalidRequest("A project cannot be suspended: revoke its content key, or archive it.", param="subject")
    if kind is SubjectKind.PRINCIPAL:
        _check_rank(request, directory, member_of(directory, organization_id, subject), project_id)
    return SuspensionRow(
        "", organization_id, project_id, kind.value, subject, body.reason, body.tell, body.until, principal.id, 0
    )


def _check_rank(request: Request, directory: Directory, member_id: str, project_id: str) -> None:
    """Return if the caller may suspend a member: another one, who may not administer more than the caller there.

    Raises:
        Conflict: it is the caller.
        Forbidden: the member may do more.
    """
    if member_id == caller(request).id:
        raise Conflict("Nobody can suspend themselves; have somebody else do it.")
    places = {WHOLE, project_id} if project_id else {WHOLE, *directory.memberships(member_id)}
    for place in places:
        roles = [row.role for row in directory.assignments(member_id, place)]
        more = directory.roles.actions(roles) - DATA_PLANE - actions_at(request, place)
        if more:
            raise Forbidden(f"You cannot suspend somebody who may do more than you: '{min(more)}'.")


def _record(
    request: Request,
    directory: Directory,
    event: str,
    before: SuspensionRow | None,
    after: SuspensionRow | None,
) -> None:
    row = after or before
    assert row is not None, "something was changed"
    told = {"type": row.kind, "subject": row.subject_id, "reason": row.reason, "tell": row.tell, "until": row.until}
    record(
        request,
        event,
        "suspension",
        row.id,
        before=None if before is None else suspension_object(directory, before),
        after=None if after is None else suspension_object(directory, after),
        project_id=row.project_id or None,
        details={name: value for name, value in told.items() if value is not None},
    )
