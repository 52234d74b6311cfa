"""`/admin/deployments`."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import actions_at, allow, caller, record
from freehold.cluster.process import resident_bytes
from freehold.errors import DeploymentNotFound, Forbidden, InvalidRequest
from freehold.gateway.capacity import Part, Share
from freehold.gateway.control import DeploymentControl, DeploymentView
from freehold.serving.supervisor import LaneStatus, ReplicaStatus
from freehold.types.deployment import DeploymentSettings
from freehold.types.identity import Action


class ScaleBody(BaseModel):
    """How many replicas there are to be."""

    model_config = ConfigDict(extra="forbid")

    replicas: Annotated[int, Field(ge=0, le=64)]


READ = allow(Action.READ_DEPLOYMENTS, own_project=True)
WRITE = allow(Action.WRITE_DEPLOYMENTS, own_project=True)
Force = Annotated[bool, Query(description="Take more units of capacity than the replicas were measured to carry.")]


def deployment_routes(control: DeploymentControl) -> APIRouter:
    """The routes. Who may read or change deployments in a project only, sees and changes those of the project."""
    router = APIRouter(tags=["deployments"])

    @router.get("/deployments", dependencies=[READ])
    async def list_deployments(request: Request) -> dict[str, Any]:
        """The deployments and how they fare."""
        await control.refresh_capacity()
        views = [view for view in control.all() if sees(request, Action.READ_DEPLOYMENTS, view.deployment.settings)]
        return {"object": "list", "data": [view_object(view) for view in views]}

    @router.post("/deployments", status_code=201, dependencies=[WRITE])
    async def create_deployment(request: Request, settings: DeploymentSettings, force: Force = False) -> dict[str, Any]:
        """Make a deployment; 409 if the name is taken."""
        _check_own(request, settings)
        view = await control.create(settings, force=force)
        record_change(request, "deployment.created", settings.name, None, settings)
        return view_object(view)

    @router.get("/deployments/{name}", dependencies=[READ])
    async def get_deployment(request: Request, name: str) -> dict[str, Any]:
        """One deployment."""
        await control.refresh_capacity()
        return view_object(find_deployment(control, request, Action.READ_DEPLOYMENTS, name))

    @router.put("/deployments/{name}", dependencies=[WRITE])
    async def put_deployment(
        request: Request, name: str, settings: DeploymentSettings, force: Force = False
    ) -> dict[str, Any]:
        """Create the deployment or change it to these settings; `changed` tells whether anything was done."""
        if settings.name != name:
            raise InvalidRequest(f"name: the body says '{settings.name}', the path '{name}'.", param="name")
        _check_own(request, settings)
        known = next((view for view in control.all() if view.deployment.name == name), None)
        if known is not None:
            known = find_deployment(control, request, Action.WRITE_DEPLOYMENTS, name)
        before = None if known is None else known.deployment.settings
        changed = await control.put(settings, force=force)
        record_change(request, "deployment.updated" if known else "deployment.created", name, before, settings)
        return {**view_object(control.get(name)), "changed": changed}

    @router.patch("/deployments/{name}", dependencies=[WRITE])
    async def scale_deployment(request: Request, name: str, body: ScaleBody, force: Force = False) -> dict[str, Any]:
        """Change the number of replicas."""
        before = find_deployment(control, request, Action.WRITE_DEPLOYMENTS, name).deployment.settings
        view = await control.scale(name, body.replicas, force=force)
        record_change(request, "deployment.updated", name, before, view.deployment.settings)
        return view_object(view)

    @router.delete("/deployments/{name}", dependencies=[WRITE])
    async def delete_deployment(request: Request, name: str) -> dict[str, Any]:
        """Remove a deployment; its running requests may finish."""
        before = find_deployment(control, request, Action.WRITE_DEPLOYMENTS, name).deployment.settings
        await control.delete(name)
        record_change(request, "deployment.deleted", name, before, None)
        return {"object": "deployment", "name": name, "deleted": True}

    return router


def sees(request: Request, action: Action, settings: DeploymentSettings) -> bool:
    """Whether the caller may do this to the deployment: in the organization, or in the project whose own it is."""
    principal = caller(request)
    return action in principal.organization_actions or (
        settings.project is not None and action in actions_at(request, settings.project)
    )


def find_deployment(control: DeploymentControl, request: Request, action: Action, name: str) -> DeploymentView:
    """A deployment that exists for the caller. Raises DeploymentNotFound."""
    view = control.get(name)
    if not sees(request, action, view.deployment.settings):
        raise DeploymentNotFound(name)
    return view


def _check_own(request: Request, settings: DeploymentSettings) -> None:
    """Raise Forbidden if the deployment would be one that the caller may not have."""
    if not sees(request, Action.WRITE_DEPLOYMENTS, settings):
        raise Forbidden(
            "You may only make deployments of your own project: set 'project' to its id, "
            f"'{caller(request).project_id}'."
        )


def record_change(
    request: Request, event: str, name: str, before: DeploymentSettings | None, after: DeploymentSettings | None
) -> None:
    """Record that a deployment is another one now."""
    settings = after or before
    record(
        request,
        event,
        "deployment",
        name,
        before=None if before is None else before.wire(),
        after=None if after is None else after.wire(),
        project_id=None if settings is None else settings.project,
    )


def view_object(view: DeploymentView) -> dict[str, Any]:
    """A deployment as the API shows it."""
    status, traits = view.status, view.status.traits if view.status else None
    return {
        "object": "deployment",
        "name": view.deployment.name,
        "origin": view.deployment.origin.value,
        "created_at": view.deployment.created_at,
        "settings": view.deployment.settings.wire(),
        "state": view.state,
        "waiting": status.waiting if status else 0,
        "in_flight": sum(replica.in_flight for replica in status.replicas) if status else 0,
        "replicas": [replica_object(replica) for replica in status.replicas] if status else [],
        "engines": [lane_object(lane) for lane in status.lanes] if status else [],
        "prompt_cache": asdict(status.prompt_cache) if status and status.prompt_cache else None,
        "scale": asdict(status.scale) if status and status.scale else None,
        "features": sorted(traits.features) if traits else [],
        "context_length": traits.context_length if traits else None,
        "embedding_dimensions": traits.embedding_dimensions if traits else None,
        "capacity": capacity_object(view) if view.capacity else None,
    }


def capacity_object(view: DeploymentView) -> dict[str, Any]:
    """The units of a deployment as the API shows them; `sku` is what Azure's control plane calls it."""
    found, settings = view.capacity, view.deployment.settings.capacity
    use = None if found is None else found.use
    return {
        "units": None if settings is None else settings.units,
        "sku": None if settings is None else {"name": "ProvisionedManaged", "capacity": settings.units},
        "spillover": None if settings is None else settings.spillover,
        "utilization": None if use is None else round(use.utilization, 2),
        "bucket_filled": None if use is None else round(use.filled, 2),
        "shares": [] if use is None else [share_object(share) for share in use.shares],
        "gateways": [] if use is None else [part_object(part) for part in use.parts],
        "carried": None if found is None else found.carried,
        "available": None if found is None else found.available,
        "warning": None if found is None else found.warning,
    }


def share_object(share: Share) -> dict[str, Any]:
    """A part of a deployment's units as the API shows it; without a project it is everybody's."""
    return {
        "project": share.project,
        "units": share.units,
        "utilization": round(share.utilization, 2),
        "bucket_filled": round(share.filled, 2),
    }


def part_object(part: Part) -> dict[str, Any]:
    """What one of several gateways takes of a deployment's units, as the API shows it."""
    return {"gateway": part.gateway, "utilization": round(part.utilization, 2), "held": round(part.held, 2)}


def replica_object(replica: ReplicaStatus) -> dict[str, Any]:
    """A replica as the API shows it."""
    return {
        "id": replica.id,
        "engine": replica.engine,
        "state": replica.state.value,
        "pid": replica.pid,
        "node": replica.node,
        "nodes": list(replica.nodes),
        "memory_bytes": None if replica.pid is None else resident_bytes(replica.pid),
        "restarts": replica.restarts,
        "in_flight": replica.in_flight,
        "error": replica.error,
        "progress": replica.progress,
        "started_at": replica.started_at,
    }


def lane_object(lane: LaneStatus) -> dict[str, Any]:
    """One of the engines that `auto` stands for, as the API shows it."""
    return {"engine": lane.engine, "state": lane.state, "why": lane.why}
