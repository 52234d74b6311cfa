"""Every route of a running application, through whatever is wrapped around it."""

from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from freehold.api.later import Later


def leaves(app: ASGIApp, prefix: str = "") -> Iterator[tuple[str, Route]]:
    """Every route of an application with what stands before its path."""
    while not isinstance(app, Starlette):
        app = app.made() if isinstance(app, Later) else app._app  # type: ignore[attr-defined]  # noqa: SLF001  # every layer of ours keeps what it wraps so
    for route in app.routes:
        yield from _leaves(route, prefix)


def _leaves(route: BaseRoute, prefix: str) -> Iterator[tuple[str, Route]]:
    if isinstance(route, Mount):
        yield from leaves(route.app, prefix + route.path)
    elif (router := getattr(route, "original_router", None)) is not None:  # what FastAPI keeps of a router
        for inner in router.routes:
            yield from _leaves(inner, prefix)
    else:
        assert isinstance(route, Route), f"a kind of route that is not known here: {route}"
        yield prefix, route
