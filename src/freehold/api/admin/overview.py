"""`/v1/organization/overview`: how the service fares now and fared in the last minutes, for people who watch it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Query, Request

from freehold.api.admin.deployments import replica_object, sees
from freehold.api.admin.door import allow, caller
from freehold.api.admin.subjects import visible_projects
from freehold.errors import InvalidRequest
from freehold.gateway.control import DeploymentControl, DeploymentView
from freehold.governance.directory import ORGANIZATION, Directory
from freehold.journal.projection_reports import Overview, UsageReports
from freehold.store.overview_queries import Durations, OverviewQuery, OverviewSum, percentiles
from freehold.types.identity import Action
from freehold.types.receipt import Outcome

MOST_BUCKETS: Final = 720
RECENT_S: Final = 60
"""Over how many seconds tokens per second are measured."""
_FIGURES: Final = (
    "requests",
    "model_requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "images",
    "cost_micro",
)
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_ERRORS: Final = frozenset({Outcome.FAILED.value, Outcome.INTERRUPTED.value})

RowT = TypeVar("RowT")
Minutes = Annotated[int, Query(ge=1, le=10_080)]
Seconds = Annotated[int, Query(ge=10, le=86_400)]
Names = Annotated[list[str] | None, Query()]


def overview_routes(control: DeploymentControl, reports: UsageReports, directory: Directory) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["usage"])

    @router.get("/overview", dependencies=[allow(Action.READ_USAGE, own_project=True)])
    async def show_overview(
        request: Request, minutes: Minutes = 60, bucket_s: Seconds = 60, project_id: Names = None
    ) -> dict[str, Any]:
        """Requests to models of the last minutes in buckets, and the deployments that serve them as they are now.

        Money is in micro-units, durations in milliseconds. What a deployment does now is told to those who may read
        deployments.
        """
        query = _query(request, minutes, bucket_s, project_id)
        overview = await reports.overview(query, RECENT_S)
        views = {view.deployment.name: view for view in control.all() if _sees(request, directory, view)}
        names = dict.fromkeys([*views, *(row.deployment for row in overview.sums if row.deployment)])
        return {
            "object": "organization.overview",
            "start_time": query.start_s,
            "end_time": query.end_s,
            "bucket_s": bucket_s,
            "total": _figures(overview.sums, overview.by_bucket),
            "buckets": _buckets(query, overview),
            "deployments": _deployments(names, views, overview),
            "usage_lag_records": reports.projection.lag,
        }

    return router


def _query(request: Request, minutes: int, bucket_s: int, projects: Sequence[str] | None) -> OverviewQuery:
    """The requests that are asked for, of those that the caller may see.

    Raises:
        InvalidRequest: there would be too many buckets.
        NotFound: a project is not the caller's to see.
    """
    if minutes * 60 > MOST_BUCKETS * bucket_s:
        raise InvalidRequest(
            f"{minutes} minutes would be more than {MOST_BUCKETS} buckets of {bucket_s} s; give a larger 'bucket_s'.",
            param="bucket_s",
        )
    end_s = int(time.time()) + 1
    start_s = (end_s - minutes * 60) // bucket_s * bucket_s
    where: dict[str, tuple[str, ...]] = {"organization_id": (caller(request).organization_id,)}
    visible = visible_projects(request, Action.READ_USAGE, projects)
    return OverviewQuery(start_s, end_s, bucket_s, where if visible is None else {**where, "project_id": visible})


def _sees(request: Request, directory: Directory, view: DeploymentView) -> bool:
    """Whether the caller may know how a deployment fares: of one's own organization, or of the one that runs them."""
    settings, mine = view.deployment.settings, caller(request).organization_id
    if mine != ORGANIZATION and settings.project not in {row.id for row in directory.projects(mine, archived=True)}:
        return False
    return sees(request, Action.READ_DEPLOYMENTS, settings)


def _buckets(query: OverviewQuery, overview: Overview) -> list[dict[str, Any]]:
    """All buckets, those without a request too."""
    sums = _by(overview.sums, lambda row: row.start_s)
    durations = [_by(each, lambda row: row.key) for each in overview.by_bucket]
    return [
        {
            "start_time": at,
            **_figures(sums.get(at, []), [each.get(at, []) for each in durations]),
        }
        for at in range(query.start_s, query.end_s, query.width_s)
    ]


def _deployments(names: Iterable[str], views: Mapping[str, DeploymentView], overview: Overview) -> list[dict[str, Any]]:
    """What each deployment did, and how it is where the caller may know that."""
    sums = _by(overview.sums, lambda row: row.deployment)
    durations = [_by(each, lambda row: row.key) for each in overview.by_deployment]
    return [
        _deployment(
            name,
            views.get(name),
            _figures(sums.get(name, []), [each.get(name, []) for each in durations]),
            overview.recent_tokens.get(name, 0),
        )
        for name in names
    ]


def _deployment(
    name: str, view: DeploymentView | None, figures: Mapping[str, Any], recent_tokens: int
) -> dict[str, Any]:
    status = None if view is None else view.status
    replicas = None if view is None else [replica_object(each) for each in status.replicas] if status else []
    return {
        "name": name,
        **figures,
        "tokens_per_second": round(recent_tokens / RECENT_S, 2),
        "state": None if view is None else view.state,
        "waiting": None if view is None else status.waiting if status else 0,
        "in_flight": None if replicas is None else sum(each["in_flight"] for each in replicas),
        "replicas": replicas,
    }


def _figures(sums: Sequence[OverviewSum], durations: Sequence[Sequence[Durations]]) -> dict[str, Any]:
    outcomes = {outcome.value: 0 for outcome in Outcome}
    for row in sums:
        outcomes[row.outcome] += row.requests
    return {
        **{name: sum(getattr(row, name) for row in sums) for name in _FIGURES},
        "errors": sum(outcomes[name] for name in _ERRORS),
        "outcomes": outcomes,
        "latency_ms": _percentiles(durations[0]),
        "first_token_ms": _percentiles(durations[1]),
    }


def _percentiles(durations: Iterable[Durations]) -> dict[str, float | None]:
    found = percentiles(durations, *_SHARES.values())
    return {name: None if each is None else round(each * 1000, 2) for name, each in zip(_SHARES, found, strict=True)}


def _by(rows: Iterable[RowT], key: Callable[[RowT], int | str]) -> Mapping[int | str, list[RowT]]:
    """Rows by something that they have."""
    found: dict[int | str, list[RowT]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found
