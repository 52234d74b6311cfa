"""`/admin/deployments`."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from freehold.errors import InvalidRequest
from freehold.gateway.control import DeploymentControl, DeploymentView
from freehold.serving.supervisor import ReplicaStatus
from freehold.types.deployment import DeploymentSettings


class ScaleBody(BaseModel):
    """How many replicas there are to be."""

    model_config = ConfigDict(extra="forbid")

    replicas: Annotated[int, Field(ge=0, le=64)]


def deployment_routes(control: DeploymentControl) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["deployments"])

    @router.get("/deployments")
    async def list_deployments() -> dict[str, Any]:
        """Every deployment and how it fares."""
        return {"object": "list", "data": [view_object(view) for view in control.all()]}

    @router.post("/deployments", status_code=201)
    async def create_deployment(settings: DeploymentSettings) -> dict[str, Any]:
        """Make a deployment; 409 if the name is taken."""
        return view_object(await control.create(settings))

    @router.get("/deployments/{name}")
    async def get_deployment(name: str) -> dict[str, Any]:
        """One deployment."""
        return view_object(control.get(name))

    @router.put("/deployments/{name}")
    async def put_deployment(name: str, settings: DeploymentSettings) -> dict[str, Any]:
        """Create the deployment or change it to these settings; `changed` tells whether anything was done."""
        if settings.name != name:
            raise InvalidRequest(f"name: the body says '{settings.name}', the path '{name}'.", param="name")
        changed = await control.put(settings)
        return {**view_object(control.get(name)), "changed": changed}

    @router.patch("/deployments/{name}")
    async def scale_deployment(name: str, body: ScaleBody) -> dict[str, Any]:
        """Change the number of replicas."""
        return view_object(await control.scale(name, body.replicas))

    @router.delete("/deployments/{name}")
    async def delete_deployment(name: str) -> dict[str, Any]:
        """Remove a deployment; its running requests may finish."""
        await control.delete(name)
        return {"object": "deployment", "name": name, "deleted": True}

    return router


def view_object(view: DeploymentView) -> dict[str, Any]:
    """A deployment as the API shows it."""
    status, traits = view.status, view.status.traits if view.status else None
    return {
        "object": "deployment",
        "name": view.deployment.name,
        "origin": view.deployment.origin.value,
        "created_at": view.deployment.created_at,
        "settings": view.deployment.settings.wire(),
        "state": status.state if status else "unknown",
        "replicas": [_replica(replica) for replica in status.replicas] if status else [],
        "features": sorted(traits.features) if traits else [],
        "context_length": traits.context_length if traits else None,
        "embedding_dimensions": traits.embedding_dimensions if traits else None,
    }


def _replica(replica: ReplicaStatus) -> dict[str, Any]:
    return {
        "id": replica.id,
        "state": replica.state.value,
        "pid": replica.pid,
        "restarts": replica.restarts,
        "in_flight": replica.in_flight,
        "error": replica.error,
        "progress": replica.progress,
    }
