"""`/admin/deployments/{name}/measurements`: which options of engines are best on this machine."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from freehold.api.admin.deployments import READ, WRITE, find_deployment
from freehold.api.admin.door import record
from freehold.gateway.control import DeploymentControl
from freehold.serving.supervisor import Measurement
from freehold.types.identity import Action


def measurement_routes(control: DeploymentControl) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["deployments"])

    @router.get("/deployments/{name}/measurements", dependencies=[READ])
    async def list_measurements(request: Request, name: str) -> dict[str, Any]:
        """Which options of its engines were measured to be best for its model on this machine."""
        find_deployment(control, request, Action.READ_DEPLOYMENTS, name)
        return {"object": "list", "data": [measurement_object(found) for found in control.measured(name)]}

    @router.post("/deployments/{name}/measurements", dependencies=[WRITE])
    async def measure(request: Request, name: str) -> dict[str, Any]:
        """Measure now, for as long as it takes; the replicas are exchanged where other options are best."""
        settings = find_deployment(control, request, Action.WRITE_DEPLOYMENTS, name).deployment.settings
        found = await control.measure(name)
        record(request, "deployment.measured", "deployment", name, project_id=settings.project)
        return {"object": "list", "data": [measurement_object(each) for each in found]}

    return router


def measurement_object(found: Measurement) -> dict[str, Any]:
    """A measurement as the API shows it."""
    return {
        "object": "measurement",
        "engine": found.place.engine,
        "version": found.place.version,
        "machine": found.place.machine,
        "model": found.model,
        "weights_sha256": found.place.weights_sha256,
        "fixed": found.place.fixed,
        "options": dict(found.options),
        "candidates": [asdict(candidate) for candidate in found.candidates],
        "measured_at": found.measured_at,
        "failure": found.failure,
    }
