"""`/v1/organization/roles`, as in OpenAI's administration API: which roles there are. They are defined in the file."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from freehold.api.admin.door import allow
from freehold.api.admin.pages import After, Order
from freehold.errors import InvalidRequest
from freehold.governance.authorization import BUILT_IN, Roles
from freehold.types.identity import Action

Limit = Annotated[int, Query(ge=0, le=1000)]


def role_routes(roles: Roles) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["roles"])

    @router.get("/roles", dependencies=[allow(Action.READ_USERS, own_project=True)])
    async def list_roles(limit: Limit = 1000, after: After = None, order: Order = "asc") -> dict[str, Any]:
        """The roles that can be held in an organization or a project, and what each allows."""
        names = roles.names() if order == "asc" else roles.names()[::-1]
        if after is not None and after not in names:
            raise InvalidRequest("'after' must be the 'next' of an answer before.", param="after")
        begin = 0 if after is None else names.index(after) + 1
        page = names[begin : begin + limit]
        more = begin + limit < len(names)
        return {
            "object": "list",
            "data": [_object(roles, name) for name in page],
            "has_more": more,
            "next": page[-1] if more and page else None,
        }

    return router


def _object(roles: Roles, name: str) -> dict[str, Any]:
    return {
        "object": "role",
        "id": name,
        "name": name,
        "description": None,
        "permissions": sorted(roles.actions([name])),
        "resource_type": "api.organization",
        "predefined_role": name in BUILT_IN,
    }
