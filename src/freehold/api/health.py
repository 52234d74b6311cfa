"""Routes without a credential: liveness, readiness, metrics and version."""

import platform
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from freehold import __version__
from freehold.api.admin.lead import lead_object
from freehold.api.admin.services import AdminServices
from freehold.errors import AuditUnavailable
from freehold.gateway.control import DeploymentControl, DeploymentView
from freehold.gateway.flights import Flights
from freehold.gateway.metrics import Metrics
from freehold.types.deployment import ReplicaState

_UNDER_WAY = {ReplicaState.FETCHING.value, ReplicaState.STARTING.value}
_LATE_S: Final = 10.0
"""A journal that has waited so long for the disk has no request answered meanwhile, in seconds."""


def health_routes(admin: AdminServices, flights: Flights, metrics: Metrics) -> list[BaseRoute]:
    """The routes."""
    control = admin.control

    async def live(_request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "live"})

    async def ready(_request: Request) -> Response:
        """Requests will be served: nothing is still starting, and the server is not shutting down.

        What starts on demand is not waited for here: a request waits for it, and the others are served meanwhile.
        """
        states = _states(control)
        try:
            admin.journal.check()
        except AuditUnavailable:
            return JSONResponse({"status": "journal_unavailable", "deployments": states}, 503, {"retry-after": "5"})
        if admin.journal.waits_s > _LATE_S:
            return JSONResponse({"status": "journal_waits", "deployments": states}, 503, {"retry-after": "5"})
        if flights.draining:
            return JSONResponse({"status": "draining", "deployments": states}, 503, {"retry-after": "5"})
        if any(states[view.deployment.name] in _UNDER_WAY for view in control.all() if not _on_demand(view)):
            return JSONResponse({"status": "starting", "deployments": states}, 503, {"retry-after": "1"})
        lead = None if control.standing is None else lead_object(control.standing)
        more = {} if lead is None else {"lead": lead}
        return JSONResponse({"status": "ready", "deployments": states, **more})

    async def exposition(_request: Request) -> Response:
        """Prometheus' text format."""
        await control.refresh_capacity()
        _measure(control, flights, metrics)
        metrics.projection_lag.set(admin.reports.projection.lag)
        metrics.journal_wait.set(admin.journal.waits_s)
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def version(_request: Request) -> Response:
        """What is running."""
        return JSONResponse({"version": __version__, "python": platform.python_version()})

    routes: dict[str, Callable[[Request], object]] = {
        "/health/live": live,
        "/health/ready": ready,
        "/metrics": exposition,
        "/version": version,
    }
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in routes.items()]


def _states(control: DeploymentControl) -> dict[str, str]:
    return {view.deployment.name: view.status.state if view.status else "unknown" for view in control.all()}


def _on_demand(view: DeploymentView) -> bool:
    return view.deployment.settings.start == "on_demand"


def _measure(control: DeploymentControl, flights: Flights, metrics: Metrics) -> None:
    """Set the gauges to what is so now."""
    metrics.in_flight.set(len(flights))
    if control.standing is not None:
        metrics.cluster_leads.set(control.standing.leads)
        metrics.cluster_epoch.set(control.standing.epoch)
    metrics.replicas.clear()
    metrics.replicas_wanted.clear()
    for view in control.all():
        for replica in view.status.replicas if view.status else ():
            metrics.replicas.labels(view.deployment.name, replica.state.value).inc()
        scale = view.status.scale if view.status else None
        wanted = view.deployment.settings.replicas if scale is None else scale.wanted
        metrics.replicas_wanted.labels(view.deployment.name).set(wanted)
        cache = view.status.prompt_cache if view.status else None
        for outcome, count in cache.outcomes.items() if cache else ():
            metrics.prompt_cache_choices.labels(view.deployment.name, outcome).set(count)
    metrics.capacity.measure(
        (view.deployment.name, view.capacity.use) for view in control.all() if view.capacity and view.capacity.use
    )
