"""`/v1/organization/projects/{project_id}/rate_limits`, as in OpenAI's administration API.

There is one for each deployment that the project may call, with the id `rl-<deployment>`. What is set here holds for
what the project uses of the deployment, and is the limit of the scope `project_deployment` at `/admin/limits`.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.pages import After
from freehold.catalog.deployments import Deployment
from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.gateway.control import DeploymentControl
from freehold.governance.directory import Directory, absent
from freehold.governance.limits import LimitRegistry
from freehold.types.identity import Action
from freehold.types.limits import MOST, Scope, Subject, pair_id

PREFIX: Final = "rl-"
_NAMES: Final = {
    "max_requests_per_1_minute": "requests_per_minute",
    "max_tokens_per_1_minute": "tokens_per_minute",
}
_UNENFORCED: Final = (
    "max_images_per_1_minute",
    "max_audio_megabytes_per_1_minute",
    "max_requests_per_1_day",
    "batch_1_day_max_input_tokens",
)

Amount = Annotated[int, Field(ge=0, le=MOST)]


class RateLimitBody(BaseModel):
    """What a project may use of a deployment; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    max_requests_per_1_minute: Amount | None = None
    max_tokens_per_1_minute: Amount | None = None
    max_images_per_1_minute: int | None = None
    max_audio_megabytes_per_1_minute: int | None = None
    max_requests_per_1_day: int | None = None
    batch_1_day_max_input_tokens: int | None = None

    def values(self) -> dict[str, int]:
        """What is asked for, by OpenAI's names.

        Raises:
            UnsupportedParameter: one is asked for that would not be held.
        """
        for name in _UNENFORCED:
            if getattr(self, name) is not None:
                raise UnsupportedParameter(
                    f"{name}: only requests and tokens per minute can be limited for a deployment in a project.",
                    param=name,
                )
        return {name: value for name in _NAMES if (value := getattr(self, name)) is not None}


def rate_limit_routes(directory: Directory, control: DeploymentControl, limits: LimitRegistry) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["project rate limits"])
    path = "/projects/{project_id}/rate_limits"

    def seen(project_id: str) -> list[Deployment]:
        """The deployments that the project may call, by name."""
        every = (view.deployment for view in control.all())
        return sorted(
            (each for each in every if each.settings.project in {None, project_id}), key=lambda each: each.name
        )

    def shown(organization_id: str, project_id: str, deployment: str) -> dict[str, Any]:
        told = {name: _told(limits, organization_id, project_id, deployment, ours) for name, ours in _NAMES.items()}
        return {"object": "project.rate_limit", "id": PREFIX + deployment, "model": deployment, **told}

    @router.get(path, dependencies=[allow(Action.READ_LIMITS)])
    async def list_rate_limits(
        request: Request,
        project_id: str,
        limit: Annotated[int, Query(ge=1, le=100)] = 100,
        after: After = None,
        before: After = None,
    ) -> dict[str, Any]:
        """What the project may use of each deployment that it may call."""
        organization_id = caller(request).organization_id
        directory.project(organization_id, project_id)
        names = [each.name for each in seen(project_id)]
        begin, end = _range(names, limit, after, before)
        data = [shown(organization_id, project_id, name) for name in names[begin:end]]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": begin > 0 if before is not None and after is None else end < len(names),
        }

    @router.post(path + "/{rate_limit_id}", dependencies=[allow(Action.WRITE_LIMITS)])
    async def update_rate_limit(
        request: Request, project_id: str, rate_limit_id: str, body: RateLimitBody
    ) -> dict[str, Any]:
        """Set what the project may use of a deployment in a minute; it holds at once."""
        organization_id = caller(request).organization_id
        directory.active_project(organization_id, project_id)
        name = next((each.name for each in seen(project_id) if PREFIX + each.name == rate_limit_id), None)
        if name is None:
            raise absent("rate limit", rate_limit_id)
        values = body.values()
        before = shown(organization_id, project_id, name)
        ours = {_NAMES[asked]: value for asked, value in values.items()}
        await limits.merge(Scope.PROJECT_DEPLOYMENT, pair_id(project_id, name), ours)
        after = shown(organization_id, project_id, name)
        record(
            request,
            "rate_limit.updated",
            "rate_limit",
            rate_limit_id,
            before=before,
            after=after,
            project_id=project_id,
            details=values,
        )
        return after

    return router


def _told(limits: LimitRegistry, organization_id: str, project_id: str, deployment: str, name: str) -> int:
    """The limit that is set on the pair; without one, the least of what holds for it besides, and at most `MOST`."""
    own: int | None = getattr(
        limits.effective(Subject(Scope.PROJECT_DEPLOYMENT, pair_id(project_id, deployment))), name
    )
    if own is not None:
        return own
    subjects = (
        Subject(Scope.ORGANIZATION, organization_id),
        Subject(Scope.PROJECT, project_id),
        Subject(Scope.DEPLOYMENT, deployment),
    )
    return min(
        (value for each in subjects if (value := getattr(limits.effective(each), name)) is not None), default=MOST
    )


def _range(names: list[str], limit: int, after: str | None, before: str | None) -> tuple[int, int]:
    """Which part of the list is asked for.

    Raises:
        InvalidRequest: a cursor is no object of the list.
    """
    places = {PREFIX + name: place for place, name in enumerate(names)}
    for param, cursor in (("after", after), ("before", before)):
        if cursor is not None and cursor not in places:
            raise InvalidRequest(f"'{param}' must be the id of an object of this list.", param=param)
    if after is not None:
        begin = places[after] + 1
        stop = len(names) if before is None else places[before]
        return begin, max(begin, min(begin + limit, stop))
    if before is not None:
        return max(0, places[before] - limit), places[before]
    return 0, min(limit, len(names))
