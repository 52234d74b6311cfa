"""`/admin/arbiter`: who has room on the cluster, who waits and why, who has how much, and what was decided last."""

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Query

from freehold.api.admin.door import allow
from freehold.cluster.arbiter.view import Part, Standing, parts, workloads
from freehold.cluster.desk import ArbiterDesk, RoomDesk
from freehold.gateway.arbitration import LAST, Arbitration, Decided
from freehold.types.cluster import Workload
from freehold.types.identity import Action


def arbiter_routes(desk: RoomDesk) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["cluster"])

    @router.get("/arbiter", dependencies=[allow(Action.MANAGE)])
    async def read_arbiter(limit: Annotated[int, Query(ge=0, le=LAST)] = 50) -> dict[str, Any]:
        """Everything that runs on the cluster or waits for room there, shares, and the last decisions, newest first.

        `enabled` is false where nothing is counted, so that nobody has to be asked for room.
        """
        if not isinstance(desk, ArbiterDesk):
            return {"object": "arbiter", "enabled": False, "workloads": [], "shares": [], "decisions": []}
        minutes = desk.minutes
        decisions = list(reversed(minutes.last))[:limit] if isinstance(minutes, Arbitration) else []
        return {
            "object": "arbiter",
            "enabled": True,
            "workloads": [_standing(each) for each in workloads(desk.arbiter)],
            "shares": [_part(each) for each in parts(desk.arbiter)],
            "decisions": [_decided(each) for each in decisions],
        }

    return router


def _workload(workload: Workload) -> dict[str, Any]:
    needs = Counter(workload.members)
    return {
        "workload": workload.id,
        "work_class": workload.work_class.name.lower(),
        "organization_id": workload.organization_id,
        "project_id": workload.project_id,
        "members": [
            {
                "count": count,
                "cores": need.cores,
                "memory_bytes": need.memory_bytes,
                "devices": need.devices,
                "device_kind": need.device_kind,
            }
            for need, count in needs.items()
        ],
        "zones": None if workload.zones is None else sorted(workload.zones),
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        **_workload(standing.workload),
        "state": standing.state,
        "nodes": list(standing.nodes),
        "reason": None if standing.reason is None else standing.reason.value,
        "queued_at": standing.workload.queued_at_s,
        "deadline": standing.deadline_s,
        "preemptible": standing.workload.checkpoint_s is not None,
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "work_class": part.work_class.name.lower(),
        "organization_id": part.organization_id,
        "project_id": part.project_id,
        "weight": part.weight,
        "organization_weight": part.organization_weight,
        "share": round(part.share, 6),
        "ratio": round(part.ratio, 6),
        "running": part.running,
        "waiting": part.waiting,
    }


def _decided(decided: Decided) -> dict[str, Any]:
    return {
        "decision": decided.what,
        "at": decided.at_s,
        **_workload(decided.workload),
        **decided.details,
    }
