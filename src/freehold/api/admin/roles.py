"""Roles in the administration API: how they are told, and who may give them.

OpenAI's API has one role a place, and calls the role `user` of a project `member`. Nobody gives a role that allows more
than they may do there themselves, nor takes one away from somebody who may do more.
"""

from collections.abc import Iterable

from fastapi import Request

from freehold.api.admin.door import actions_at
from freehold.errors import Forbidden
from freehold.governance.directory import WHOLE, Directory
from freehold.types.identity import Role

MEMBER = "member"
"""What OpenAI calls the role `user` of a project."""


def shown_role(directory: Directory, member_id: str, project_id: str) -> str | None:
    """The one role that stands for all that a member holds there; None for none."""
    held = {row.role for row in directory.assignments(member_id, project_id)}
    first = next((name for name in directory.roles.names() if name in held), None)
    return MEMBER if first == Role.USER and project_id != WHOLE else first


def given_roles(request: Request, directory: Directory, names: Iterable[str], project_id: str) -> list[str]:
    """The roles that names stand for, if the caller may give them there.

    Raises:
        InvalidRequest: there is no such role.
        Forbidden: it allows more than the caller may do.
    """
    roles = [directory.roles.check(Role.USER if name == MEMBER else name) for name in names]
    more = directory.roles.actions(roles) - actions_at(request, project_id)
    if more:
        raise Forbidden(f"You cannot give a role that allows more than you may do yourself: '{min(more)}'.")
    return roles


def check_rank(request: Request, directory: Directory, member_id: str, project_id: str) -> None:
    """Return if the caller may do all that a member may do by its roles in that place.

    Raises:
        Forbidden: the member may do more.
    """
    roles = [row.role for row in directory.assignments(member_id, project_id)]
    more = directory.roles.actions(roles) - actions_at(request, project_id)
    if more:
        raise Forbidden(f"You cannot change somebody who may do more than you: '{min(more)}'.")
