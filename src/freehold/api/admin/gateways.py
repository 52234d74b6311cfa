"""`/admin/gateways`: which gateways use this server's database."""

from typing import Any

from fastapi import APIRouter, Request

from freehold.api.admin.door import allow, record
from freehold.api.admin.lead import lead_object
from freehold.gateway.control import DeploymentControl
from freehold.gateway.presence import Presence
from freehold.store.gateway_rows import GatewayRow
from freehold.types.identity import Action


def gateway_routes(presence: Presence, control: DeploymentControl) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["gateways"])

    @router.get("/gateways", dependencies=[allow(Action.MANAGE)])
    async def list_gateways() -> dict[str, Any]:
        """Every gateway of the database by name: `running`, `stopped`, or `lost` where it has not been seen lately."""
        rows, now = await presence.all()
        lead = None if control.standing is None else lead_object(control.standing)
        leader = None if lead is None else lead["gateway"]
        data = [{**_gateway(row, now, presence.name), "leads": row.name == leader} for row in rows]
        return {"object": "list", "data": data, "lead": lead}

    @router.delete("/gateways/{name}", dependencies=[allow(Action.MANAGE)])
    async def remove_gateway(request: Request, name: str) -> dict[str, Any]:
        """Forget a gateway that will not come back; others go on with its jobs. One that runs is not removed."""
        row = await presence.remove(name)
        record(request, "gateway.removed", "gateway", name, before={"home": row.home, "version": row.version})
        return {"object": "gateway", "name": name, "deleted": True}

    return router


def _gateway(row: GatewayRow, now: int, own: str) -> dict[str, Any]:
    state = "running" if row.name == own or row.lives(now) else "lost" if row.left_at is None else "stopped"
    return {
        "object": "gateway",
        "name": row.name,
        "state": state,
        "self": row.name == own,
        "version": row.version,
        "schema": row.schema,
        "url": row.url or None,
        "home": row.home,
        "started_at": row.started_at or None,
        "seen_at": row.seen_at or None,
        "left_at": row.left_at,
    }
