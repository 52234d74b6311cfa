"""Whom abuse monitoring is about, as the routes of it name them, and which of them a caller may see."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi import Request

from freehold.api.admin.door import actions_at, caller
from freehold.errors import NotFound
from freehold.governance.directory import Directory, absent
from freehold.governance.suspensions import Suspensions
from freehold.store.suspensions import SuspensionRow
from freehold.types.abuse import SubjectKind
from freehold.types.identity import Action

_DIGEST: Final = re.compile(r"eu_[0-9a-f]{24}")


def kind_of(directory: Directory, organization_id: str, subject_id: str) -> SubjectKind:
    """What an id is of: an end user's digest by its form, a project that there is or was, or else a member."""
    if _DIGEST.fullmatch(subject_id):
        return SubjectKind.END_USER
    projects = directory.projects(organization_id, archived=True)
    return SubjectKind.PROJECT if any(row.id == subject_id for row in projects) else SubjectKind.PRINCIPAL


def digests_of(names: Sequence[str], digest_end_user: Callable[[str], str]) -> tuple[str, ...]:
    """End users by the digests that receipts hold: each as it is, if it is one, or else of the name that it is."""
    return tuple(name if _DIGEST.fullmatch(name) else digest_end_user(name) for name in names)


def visible_projects(request: Request, action: Action, wanted: Sequence[str] | None) -> tuple[str, ...] | None:
    """The projects that the caller asks for, or else all in which it may do the action; None for the organization.

    Raises:
        NotFound: one of them is none in which the caller may do it.
    """
    principal = caller(request)
    if action in principal.organization_actions:
        return None if wanted is None else tuple(wanted)
    chosen = (principal.project_id,) if wanted is None else tuple(wanted)
    for project_id in chosen:
        if action not in actions_at(request, project_id):
            raise absent("project", project_id)
    return chosen


def reaches(request: Request, action: Action, project_id: str) -> bool:
    """Whether the caller may do the action in a project; where that is empty, in the whole organization."""
    return action in actions_at(request, project_id)


def called(directory: Directory, organization_id: str, kind: SubjectKind, subject_id: str) -> str | None:
    """What a subject is called, if it is one that has a name here and is still there."""
    if kind is SubjectKind.PROJECT:
        rows = directory.projects(organization_id, archived=True)
        return next((row.name for row in rows if row.id == subject_id), None)
    member = directory.member(subject_id) if kind is SubjectKind.PRINCIPAL else None
    return member.name if member is not None and member.organization_id == organization_id else None


def suspensions_of(
    suspensions: Suspensions, organization_id: str, kind: SubjectKind, subject_id: str, project_id: str | None
) -> list[SuspensionRow]:
    """The suspensions of a subject that hold: anywhere, or in one project, be it only there or everywhere."""
    rows = suspensions.anywhere(organization_id, kind, subject_id)
    return [row for row in rows if project_id is None or row.project_id in {"", project_id}]


def suspension_object(directory: Directory, row: SuspensionRow) -> dict[str, Any]:
    """A suspension as the API shows it."""
    return {
        "object": "suspension",
        "id": row.id,
        "type": row.kind,
        "subject": row.subject_id,
        "name": called(directory, row.organization_id, SubjectKind(row.kind), row.subject_id),
        "project_id": row.project_id or None,
        "reason": row.reason,
        "tell": row.tell,
        "until": row.until,
        "created_by": row.created_by,
        "created_at": row.created_at,
    }


def member_of(directory: Directory, organization_id: str, member_id: str) -> str:
    """The id, if it is a member's of the organization.

    Raises:
        NotFound: it is not.
    """
    member = directory.member(member_id)
    if member is None or member.organization_id != organization_id:
        raise NotFound(
            f"There is no member '{member_id[:64]}'. An end user is named by its digest, 'eu_' and 24 hexadecimal "
            "digits, or by the name that callers give it, in 'end_user'.",
            param="subject",
        )
    return member_id
