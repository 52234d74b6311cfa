"""`/admin/deployments/{name}/canary`: a share of a deployment's requests for a candidate."""

from typing import Any

from fastapi import APIRouter, Request

from freehold.api.admin.deployments import READ, WRITE, find_deployment
from freehold.api.admin.door import record
from freehold.errors import NotFound
from freehold.gateway.canary import Canaries
from freehold.gateway.canary_control import CanaryControl
from freehold.gateway.control import DeploymentControl
from freehold.types.deployment import CanarySettings, DeploymentSettings
from freehold.types.identity import Action

PATH = "/deployments/{name}/canary"


def canary_routes(control: DeploymentControl, canaries: Canaries, canary_control: CanaryControl) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["deployments"])

    def before_of(request: Request, name: str) -> DeploymentSettings:
        return find_deployment(control, request, Action.WRITE_DEPLOYMENTS, name).deployment.settings

    @router.get(PATH, dependencies=[READ])
    async def get_canary(request: Request, name: str) -> dict[str, Any]:
        """How a canary fares."""
        deployment = find_deployment(control, request, Action.READ_DEPLOYMENTS, name).deployment
        canary = deployment.settings.canary
        if canary is None:
            raise NotFound(f"The deployment '{name}' has no canary.", code="canary_not_found")
        arms = {arm: {"requests": count, **numbers} for arm, (count, numbers) in canaries.measured(deployment).items()}
        running = canaries.candidate_of(deployment.settings) is not None
        settings = canary.model_dump(mode="json", exclude_none=True)
        return {"object": "canary", "deployment": name, "running": running, "settings": settings, "arms": arms}

    @router.post(PATH, dependencies=[WRITE])
    async def begin_canary(request: Request, name: str, canary: CanarySettings) -> dict[str, Any]:
        """Give a candidate a share of the requests."""
        before = before_of(request, name)
        after = await canary_control.begin(name, canary)
        _record(request, "deployment.canary_begun", before, after)
        return _answer(after)

    @router.post(f"{PATH}/finish", dependencies=[WRITE])
    async def finish_canary(request: Request, name: str) -> dict[str, Any]:
        """Have the candidate become the deployment's model; 409 where its `promote_if` does not hold."""
        before = before_of(request, name)
        after = await canary_control.finish(name)
        _record(request, "deployment.canary_finished", before, after)
        return _answer(after)

    @router.delete(PATH, dependencies=[WRITE])
    async def stop_canary(request: Request, name: str) -> dict[str, Any]:
        """Have the candidate get no more requests."""
        before = before_of(request, name)
        after = await canary_control.stop(name)
        _record(request, "deployment.canary_stopped", before, after)
        return _answer(after)

    return router


def _answer(settings: DeploymentSettings) -> dict[str, Any]:
    return {"object": "deployment", "name": settings.name, "settings": settings.wire()}


def _record(request: Request, event: str, before: DeploymentSettings, after: DeploymentSettings) -> None:
    before_wire, after_wire = before.wire(), after.wire()
    record(request, event, "deployment", after.name, before=before_wire, after=after_wire, project_id=after.project)
