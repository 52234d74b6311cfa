"""`/admin/deployments/{name}/promote`: have a deployment change to another model, if its condition allows it."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.deployments import WRITE, find_deployment, view_object
from freehold.api.admin.door import record
from freehold.gateway.control import DeploymentControl
from freehold.gateway.promotion import Promotions
from freehold.types.deployment import DeploymentSettings
from freehold.types.identity import Action


class PromotionBody(BaseModel):
    """To which model; with `dry_run` it is only told whether that would be allowed."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=256)]
    dry_run: bool = False


def promotion_routes(control: DeploymentControl, promotions: Promotions) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["deployments"])

    @router.post("/deployments/{name}/promote", dependencies=[WRITE])
    async def promote_deployment(request: Request, name: str, body: PromotionBody) -> dict[str, Any]:
        """Change a deployment's model; 409 `promotion_refused` where its `promote_if` does not hold.

        A name that the catalog has not is refused before anything changes.
        """
        before = find_deployment(control, request, Action.WRITE_DEPLOYMENTS, name).deployment.settings
        await promotions.check_there(before, body.model)
        verdict = await promotions.judge(before, body.model)
        after = DeploymentSettings.model_validate({**before.wire(), "model": body.model, "canary": None})
        if body.dry_run:
            _record(request, "deployment.promotion_tried", before, before)
            return {**verdict.wire(), "dry_run": True, "settings": after.wire()}
        await control.put(after)
        _record(request, "deployment.promoted", before, after)
        return {**verdict.wire(), "dry_run": False, "settings": view_object(control.get(name))["settings"]}

    return router


def _record(request: Request, event: str, before: DeploymentSettings, after: DeploymentSettings) -> None:
    record(
        request,
        event,
        "deployment",
        after.name,
        before=before.wire(),
        after=after.wire(),
        project_id=after.project,
    )
