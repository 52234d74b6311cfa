"""`/admin/cluster`: the nodes, what runs where, and which nodes drain."""

from typing import Any

from fastapi import APIRouter, Request

from freehold.api.admin.door import allow, record
from freehold.api.admin.lead import lead_object
from freehold.cluster.local import LocalCluster
from freehold.gateway.control import DeploymentControl
from freehold.types.cluster import Node, Resources
from freehold.types.identity import Action


def cluster_routes(control: DeploymentControl) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["cluster"])

    @router.get("/cluster", dependencies=[allow(Action.MANAGE)])
    async def cluster() -> dict[str, Any]:
        """The nodes of the cluster, and the replicas on each; without a cluster, this machine."""
        nodes = await control.cluster.nodes()
        replicas = [
            {
                "id": replica.id,
                "deployment": view.deployment.settings.name,
                "state": replica.state.value,
                "nodes": replica.nodes,
            }
            for view in control.all()
            for replica in (view.status.replicas if view.status is not None else ())
        ]
        kind = "local" if isinstance(control.cluster, LocalCluster) else "ray"
        lead = None if control.standing is None else lead_object(control.standing)
        return {
            "object": "cluster",
            "kind": kind,
            "lead": lead,
            "data": [node_object(node, replicas) for node in nodes],
        }

    @router.post("/cluster/nodes/{node_id}/drain", dependencies=[allow(Action.MANAGE)])
    async def drain(request: Request, node_id: str) -> dict[str, Any]:
        """Place nothing more on a node, and replace the replicas that are there by others elsewhere."""
        control.check_leads()
        await control.cluster.drain(node_id)
        record(request, "cluster.node.drained", "node", node_id)
        return {"object": "cluster.node", "id": node_id, "state": "draining"}

    @router.post("/cluster/nodes/{node_id}/resume", dependencies=[allow(Action.MANAGE)])
    async def resume(request: Request, node_id: str) -> dict[str, Any]:
        """Place on a node again that drained."""
        control.check_leads()
        await control.cluster.resume(node_id)
        record(request, "cluster.node.resumed", "node", node_id)
        return {"object": "cluster.node", "id": node_id, "state": "ready"}

    return router


def node_object(node: Node, replicas: list[dict[str, Any]]) -> dict[str, Any]:
    """A node as the API shows it."""
    return {
        "object": "cluster.node",
        "id": node.id,
        "name": node.name,
        "zone": node.zone,
        "state": node.state.value,
        "total": resources_object(node.total),
        "free": resources_object(node.free),
        "replicas": [{k: v for k, v in each.items() if k != "nodes"} for each in replicas if node.id in each["nodes"]],
    }


def resources_object(found: Resources) -> dict[str, Any]:
    """What there is, as the API shows it."""
    return {
        "cores": found.cores,
        "memory_bytes": found.memory_bytes,
        "devices": found.devices,
        "device_kind": found.device_kind,
    }
