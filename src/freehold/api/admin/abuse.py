"""`abuse`: whose requests the content filter flagged, how often and how severely."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Depends, Query, Request

from freehold.api.admin.door import allow, caller
from freehold.api.admin.subjects import (
    called,
    digests_of,
    kind_of,
    suspension_object,
    suspensions_of,
    visible_projects,
)
from freehold.errors import InvalidRequest, NotFound
from freehold.governance.directory import Directory
from freehold.governance.suspensions import Suspensions
from freehold.journal.projection_reports import UsageReports
from freehold.store.abuse_queries import DAY, FlagQuery, FlagSum
from freehold.types.abuse import SubjectKind
from freehold.types.content_filter import Severity
from freehold.types.identity import Action

_MAX_TIME_S: Final = 253_402_300_800
_WEEK_S: Final = 7 * 86_400
_MOST_DAYS: Final = 3660
_COLUMNS: Final = {
    SubjectKind.END_USER: ("project_id", "end_user"),
    SubjectKind.PRINCIPAL: ("principal",),
    SubjectKind.PROJECT: ("project_id",),
}
"""By which columns subjects are kept apart; the last one has their ids."""

Time: TypeAlias = Annotated[int, Query(ge=0, le=_MAX_TIME_S)]
Names: TypeAlias = Annotated[list[str] | None, Query()]
Name: TypeAlias = Annotated[str, Query(min_length=1, max_length=1024)]


def _window(start_time: Time | None = None, end_time: Time | None = None) -> tuple[int, int]:
    """The time that is asked for.

    Raises:
        InvalidRequest: it ends before it begins.
    """
    end_s = int(time.time()) + 1 if end_time is None else end_time
    start_s = max(0, end_s - _WEEK_S) if start_time is None else start_time
    if end_s <= start_s:
        raise InvalidRequest("'end_time' must be later than 'start_time'.", param="end_time")
    return start_s, end_s


Window: TypeAlias = Annotated[tuple[int, int], Depends(_window)]


def abuse_routes(
    directory: Directory, reports: UsageReports, suspensions: Suspensions, digest_end_user: Callable[[str], str]
) -> APIRouter:
    """The routes.

    Args:
        directory: what subjects are called.
        reports: what they read.
        suspensions: who is suspended.
        digest_end_user: gives the digest under which an end user's name stands on receipts.
    """
    router = APIRouter(tags=["abuse"])
    read = [allow(Action.READ_ABUSE, own_project=True)]

    @router.get("/abuse", dependencies=read)
    async def report_abuse(
        request: Request,
        window: Window,
        group_by: SubjectKind = SubjectKind.END_USER,
        project: Names = None,
        end_user: Names = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> dict[str, Any]:
        """Whose requests were flagged from `start_time` to before `end_time`, the highest score first.

        Times are seconds since the epoch; without them the last seven days. `end_user` is a name as the caller gave it,
        or the digest that stands in its place.
        """
        organization_id = caller(request).organization_id
        query = FlagQuery(organization_id, *window, _COLUMNS[group_by], {}, limit, offset)
        where = {"end_user": digests_of(end_user, digest_end_user)} if end_user else {}
        projects = visible_projects(request, Action.READ_ABUSE, project)
        rows, more = await reports.flagged(_within(query, where, projects))
        data = [_subject(directory, suspensions, organization_id, group_by, row) for row in rows]
        return {"object": "list", "group_by": group_by.value, **_told(query), "data": data, "has_more": more}

    @router.get("/abuse/end_user", dependencies=read)
    async def show_end_user(request: Request, window: Window, name: Name, project: Names = None) -> dict[str, Any]:
        """What was flagged of an end user by day, who is called by the name that callers give it."""
        (digest,) = digests_of([name], digest_end_user)
        projects = visible_projects(request, Action.READ_ABUSE, project)
        return await _timeline(request, directory, reports, suspensions, digest, window, projects)

    @router.get("/abuse/{subject}", dependencies=read)
    async def show_subject(request: Request, window: Window, subject: str, project: Names = None) -> dict[str, Any]:
        """What was flagged by day of an end user (by its digest), a member or a project."""
        projects = visible_projects(request, Action.READ_ABUSE, project)
        return await _timeline(request, directory, reports, suspensions, subject, window, projects)

    return router


async def _timeline(
    request: Request,
    directory: Directory,
    reports: UsageReports,
    suspensions: Suspensions,
    subject: str,
    window: tuple[int, int],
    projects: tuple[str, ...] | None,
) -> dict[str, Any]:
    """One subject's days.

    Raises:
        NotFound: it has sent nothing in that time that the caller may see.
    """
    organization_id = caller(request).organization_id
    kind = kind_of(directory, organization_id, subject)
    query = FlagQuery(organization_id, *window, (DAY,), {}, _MOST_DAYS)
    query = _within(query, {_COLUMNS[kind][-1]: (subject,)}, projects)
    days, _ = await reports.flagged(query)
    requests = await reports.sent(query)
    held = suspensions_of(suspensions, organization_id, kind, subject, None)
    held = [row for row in held if projects is None or row.project_id in {"", *projects}]
    if not (requests or days or held):
        raise NotFound(f"Nothing was asked by '{subject[:64]}' in this time, or it is not yours to see.")
    total = FlagSum(
        key=(),
        requests=requests,
        flagged=sum(day.flagged for day in days),
        blocked=sum(day.blocked for day in days),
        points=sum(day.points for day in days),
        first_s=min((day.first_s for day in days), default=0),
        last_s=max((day.last_s for day in days), default=0),
    )
    return {
        "object": "abuse.timeline",
        "type": kind.value,
        "id": subject,
        "name": called(directory, organization_id, kind, subject),
        **_told(query),
        "total": _figures(total) | {"score": total.score},
        "data": [{"object": "abuse.day", "start_time": day.key[0], **_figures(day)} for day in days],
        "suspensions": [suspension_object(directory, row) for row in held],
    }


def _subject(
    directory: Directory, suspensions: Suspensions, organization_id: str, kind: SubjectKind, row: FlagSum
) -> dict[str, Any]:
    subject = row.key[-1]
    project = row.key[0] if len(row.key) > 1 else None
    held = suspensions_of(suspensions, organization_id, kind, subject, project)
    return {
        "object": "abuse.subject",
        "type": kind.value,
        "id": subject,
        "name": called(directory, organization_id, kind, subject),
        "project_id": subject if kind is SubjectKind.PROJECT else project,
        **_figures(row),
        "score": row.score,
        "suspended": bool(held),
        "suspensions": [each.id for each in held],
    }


def _figures(row: FlagSum) -> dict[str, Any]:
    return {
        "requests": row.requests,
        "flagged": row.flagged,
        "blocked": row.blocked,
        "share": round(row.flagged / row.requests, 4) if row.requests else 0.0,
        "first_flagged_at": row.first_s or None,
        "last_flagged_at": row.last_s or None,
        "findings": [
            {
                "side": each.side,
                "name": each.name,
                "severity": Severity(each.severity).label,
                "requests": each.requests,
                "blocked": each.blocked,
            }
            for each in row.findings
        ],
    }


def _within(query: FlagQuery, where: dict[str, tuple[str, ...]], projects: tuple[str, ...] | None) -> FlagQuery:
    """The query for some projects only; a project that is asked for and not among them is not found."""
    if projects is not None:
        named = where.get("project_id", projects)
        where = {**where, "project_id": tuple(name for name in named if name in projects)}
    return replace(query, where=where)


def _told(query: FlagQuery) -> dict[str, Any]:
    return {"start_time": query.start_s, "end_time": query.end_s}
