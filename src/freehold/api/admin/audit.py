"""`/admin/audit`: every administrative record with all that it says, for auditors and `freehold audit log`."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from freehold.api.admin.door import allow, caller
from freehold.api.admin.pages import After
from freehold.errors import InvalidRequest
from freehold.governance.directory import Directory
from freehold.journal.projection_reports import UsageReports
from freehold.store.audit_queries import ActionRow, AuditQuery, Place
from freehold.types.identity import Action

_NOBODY: Final = ""
"""In place of an organization: nobody's, such as a failed sign-in of whoever it was."""
_ID: Final = re.compile(r"audit_log-([A-Za-z0-9_.-]{1,64})-([0-9]{1,18})", re.ASCII)
_MAX_TIME_S: Final = 253_402_300_800

Time = Annotated[int | None, Query(ge=0, le=_MAX_TIME_S)]
Names = Annotated[list[str] | None, Query()]


def audit_routes(directory: Directory, reports: UsageReports) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["audit"])

    @router.get("/audit", dependencies=[allow(Action.READ_AUDIT)])
    async def read_audit(
        request: Request,
        event: Names = None,
        project: Names = None,
        actor: Names = None,
        resource: Names = None,
        since: Time = None,
        until: Time = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: After = None,
        *,
        everything: bool = False,
    ) -> dict[str, Any]:
        """Administrative records of your organization and of nobody, newest first.

        An `event` is a name, or a family such as `project.*`; an `actor` the id of a member or a key, or a user's
        e-mail address. `since` and `until` are seconds since the epoch. With `everything` also calls that changed
        nothing, such as refused ones.
        """
        organizations = (caller(request).organization_id, _NOBODY)
        query = AuditQuery(
            organizations,
            event or (),
            project or (),
            None if actor is None else [_actor(directory, organizations[0], name) for name in actor],
            resource or (),
            None if since is None else since * 1_000_000,
            None if until is None else until * 1_000_000,
            await place_of(reports, organizations, after, "after"),
            limit=limit,
            with_event=not everything,
        )
        rows, more = await reports.actions(query)
        data = [_record(directory, row) for row in rows]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": more,
        }

    return router


def record_id(row: ActionRow) -> str:
    """The id of an action in the API: of its writer and its record."""
    return f"audit_log-{row.place.writer}-{row.place.seq}"


async def place_of(reports: UsageReports, organizations: Sequence[str], cursor: str | None, param: str) -> Place | None:
    """Where the action of an id stands.

    Raises:
        InvalidRequest: none of these organizations' has the id.
    """
    if cursor is None:
        return None
    found = _ID.fullmatch(cursor)
    row = None if found is None else await reports.action(organizations, found[1], int(found[2]))
    if row is None:
        raise InvalidRequest(f"'{param}' must be the id of an object of this list.", param=param)
    return row.place


def _actor(directory: Directory, organization_id: str, name: str) -> str:
    if "@" not in name:
        return name
    user = directory.user_by_email(name)
    return user.id if user is not None and user.organization_id == organization_id else name


def _record(directory: Directory, row: ActionRow) -> dict[str, Any]:
    member = directory.member(row.body.get("principal", ""))
    return {
        "object": "audit.record",
        "id": record_id(row),
        "seq": row.place.seq,
        "writer": row.place.writer,
        "recorded_at": row.place.recorded_at // 1_000_000,
        "principal_name": None if member is None else member.email or member.name,
        "event": None,
        **row.body,
    }
