"""`GET /admin/can`: whether somebody may do something, and every step of the reason."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from freehold.api.admin.door import allow, caller
from freehold.governance.explanation import Explainer
from freehold.types.identity import Action

Text = Annotated[str, Query(min_length=1, max_length=320)]


def can_routes(explainer: Explainer) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["users"])

    @router.get("/can", dependencies=[allow(Action.READ_USERS)])
    async def can(
        request: Request, principal: Text, action: Text, resource: Text, project: Text | None = None
    ) -> dict[str, Any]:
        """Whether a member of the caller's organization may do something, and why."""
        found = explainer.explain(caller(request).organization_id, principal, action, resource, project)
        return {
            "object": "access_decision",
            "allowed": found.allowed,
            "member_id": found.member_id,
            "key_id": found.key_id or None,
            "project_id": found.project_id or None,
            "action": found.action.value,
            "resource": found.resource,
            "steps": [{"step": step.name, "allowed": step.allowed, "reason": step.reason} for step in found.steps],
        }

    return router
