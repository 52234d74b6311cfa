"""`/admin/models/{name}/…`: the default of a family, the date of retirement, and who calls a model."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, record
from freehold.gateway.model_services import ModelServices
from freehold.journal.projection_reports import UsageReports
from freehold.store.usage_queries import DAY_S, UsageQuery
from freehold.types.deployment import NAME_PATTERN
from freehold.types.identity import Action

_GROUPS = ("organization_id", "project_id", "key_id", "deployment")

FamilyName = Annotated[str, Field(pattern=NAME_PATTERN)]


class DefaultBody(BaseModel):
    """Of which family a model becomes the default, and as which version."""

    model_config = ConfigDict(extra="forbid")

    family: FamilyName | None = None
    version: FamilyName | None = None


class RetirementBody(BaseModel):
    """When a model is retired; null takes it back."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime | None


def model_version_routes(models: ModelServices, reports: UsageReports) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["models"])

    @router.post("/models/{name}/default", dependencies=[allow(Action.WRITE_MODELS)])
    async def set_default(request: Request, name: str, body: DefaultBody) -> dict[str, Any]:
        """Make a model the default of its family; deployments that follow a new default go over to it."""
        entry = await models.versions.set_default(name, body.family, body.version)
        upgraded = await models.upgrades.run()
        record(request, "model.default_set", "model", entry.name, after={**entry.wire(), "upgraded": upgraded})
        return {**entry.wire(), "upgraded": upgraded}

    @router.post("/models/{name}/retirement", dependencies=[allow(Action.WRITE_MODELS)])
    async def set_retirement(request: Request, name: str, body: RetirementBody) -> dict[str, Any]:
        """Set when a model is retired; from now on its callers are told so in headers."""
        at = None if body.at is None else int(body.at.astimezone(UTC).timestamp())
        entry = await models.versions.retire(name, at)
        upgraded = await models.upgrades.run()
        record(request, "model.retirement_set", "model", entry.name, after={**entry.wire(), "upgraded": upgraded})
        return {**entry.wire(), "upgraded": upgraded}

    @router.get("/models/{name}/callers", dependencies=[allow(Action.READ_USAGE)])
    async def list_callers(name: str, days: Annotated[int, Query(ge=1, le=3660)] = 30) -> dict[str, Any]:
        """Who called a model in the last days: organizations, projects and keys, the most frequent first."""
        now = int(time.time()) + 1
        query = UsageQuery(now - days * DAY_S, now, where={"model": models.versions.names_of(name)}, group_by=_GROUPS)
        sums = sorted(await reports.sums(query), key=lambda found: -found.requests)
        data = [dict(zip(_GROUPS, found.keys, strict=True)) | {"requests": found.requests} for found in sums]
        since = datetime.fromtimestamp(now - days * DAY_S, UTC).isoformat()
        return {"object": "list", "model": name, "since": since, "data": data}

    return router
