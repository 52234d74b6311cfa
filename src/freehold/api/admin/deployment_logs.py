"""`/admin/deployments/{name}/logs`: the last that happened to a deployment."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from freehold.api.admin.deployments import WRITE, find_deployment
from freehold.gateway.control import DeploymentControl
from freehold.serving.deployment_log import MOST
from freehold.types.identity import Action


def deployment_log_routes(control: DeploymentControl) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["deployments"])

    @router.get("/deployments/{name}/logs", dependencies=[WRITE])
    async def read_logs(
        request: Request, name: str, tail: Annotated[int, Query(ge=1, le=MOST)] = 200
    ) -> dict[str, Any]:
        """The last that happened to a deployment since the server started, the oldest first.

        Lines that its engines wrote (`kind` is `log`), and states that its replicas went through (`state`).
        """
        find_deployment(control, request, Action.WRITE_DEPLOYMENTS, name)
        return {"object": "deployment.logs", "name": name, "data": [asdict(each) for each in control.log(name, tail)]}

    return router
