"""`/admin/deployments/{name}/capacity` and `/calibration`: units, and what replicas were measured to carry."""

from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.deployments import READ, WRITE, capacity_object, find_deployment, view_object
from freehold.api.admin.door import record
from freehold.errors import NotFound
from freehold.gateway.control import DeploymentControl
from freehold.serving.calibrating import USUAL
from freehold.serving.calibrations import Calibration
from freehold.types.capacity import CapacitySettings
from freehold.types.deployment import DeploymentSettings
from freehold.types.identity import Action


class CalibrationBody(BaseModel):
    """How long is measured at each number of callers."""

    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[float, Field(ge=0.05, le=60)] = USUAL.level_s


Force = Annotated[bool, Query(description="Take more units than the replicas were measured to carry.")]


def capacity_routes(control: DeploymentControl) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["deployments"])

    @router.get("/deployments/{name}/capacity", dependencies=[READ])
    async def get_capacity(request: Request, name: str) -> dict[str, Any]:
        """The units of a deployment, how they are used, and how many its replicas carry."""
        await control.refresh_capacity()
        view = find_deployment(control, request, Action.READ_DEPLOYMENTS, name)
        return {"object": "deployment.capacity", "deployment": name, **capacity_object(view)}

    @router.put("/deployments/{name}/capacity", dependencies=[WRITE])
    async def put_capacity(
        request: Request, name: str, settings: CapacitySettings, force: Force = False
    ) -> dict[str, Any]:
        """Give a deployment units, or other ones; 400 if its replicas were not measured to carry them."""
        return await _change(control, request, name, settings, force=force)

    @router.delete("/deployments/{name}/capacity", dependencies=[WRITE])
    async def delete_capacity(request: Request, name: str) -> dict[str, Any]:
        """Have a deployment serve what it can, without units."""
        return await _change(control, request, name, None, force=False)

    @router.get("/deployments/{name}/calibration", dependencies=[READ])
    async def get_calibration(request: Request, name: str) -> dict[str, Any]:
        """What the replicas of a deployment were measured to do; 404 if they were not."""
        view = find_deployment(control, request, Action.READ_DEPLOYMENTS, name)
        if view.capacity is None or view.capacity.calibration is None:
            raise NotFound(f"The deployment '{name}' is not calibrated.", param="name")
        return {**calibration_object(view.capacity.calibration), "holds": view.capacity.holds}

    @router.post("/deployments/{name}/calibration", dependencies=[WRITE])
    async def calibrate(request: Request, name: str, body: CalibrationBody | None = None) -> dict[str, Any]:
        """Measure now, with requests that nobody pays for; takes half a minute for a small model."""
        settings = find_deployment(control, request, Action.WRITE_DEPLOYMENTS, name).deployment.settings
        effort = replace(USUAL, level_s=body.seconds) if body is not None else USUAL
        found = await control.calibrate(name, effort)
        record(request, "deployment.calibrated", "deployment", name, project_id=settings.project)
        return {**calibration_object(found), "holds": True}

    return router


async def _change(
    control: DeploymentControl, request: Request, name: str, capacity: CapacitySettings | None, *, force: bool
) -> dict[str, Any]:
    """Change nothing of a deployment but its units."""
    before = find_deployment(control, request, Action.WRITE_DEPLOYMENTS, name).deployment.settings
    wire = {key: value for key, value in before.wire().items() if key != "capacity"}
    if capacity is not None:
        wire["capacity"] = capacity.model_dump(mode="json", exclude_defaults=True)
    after = DeploymentSettings.model_validate(wire)
    changed = await control.put(after, force=force)
    record(
        request,
        "deployment.updated",
        "deployment",
        name,
        before=before.wire(),
        after=after.wire(),
        project_id=after.project,
    )
    return {**view_object(control.get(name)), "changed": changed}


def calibration_object(found: Calibration) -> dict[str, Any]:
    """A calibration as the API shows it."""
    return {
        "object": "deployment.calibration",
        "deployment": found.deployment,
        "model": found.model,
        "engine": found.engine,
        "version": found.version,
        "weights_sha256": found.weights_sha256,
        "machine": found.machine,
        "fixed": found.fixed,
        "replicas": found.replicas,
        "units": found.units,
        "prompt_tokens_per_s": found.prompt_per_s,
        "cached_tokens_per_s": found.cached_per_s,
        "completion_tokens_per_s": found.completion_per_s,
        "images_per_s": found.images_per_s,
        "levels": [asdict(level) for level in found.levels],
        "disturbed": found.disturbed,
        "measured_at": found.measured_at,
    }
