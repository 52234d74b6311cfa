"""The short way to operations whose path has no parameters: found by a look-up, where a router tries route by route."""

from collections.abc import Awaitable, Iterable

from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from freehold.api.operation import Operation


class Direct:
    """Passes a request on to the operation of its method and path, or to the router.

    An operation answers its own errors, so that nothing of the router is missed.

    Args:
        app: serves everything else by its routes.
        routes: its routes, in the order in which it tries them.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._operations: dict[tuple[str, str], Operation] = {}
        before: list[BaseRoute] = []
        for route in routes:
            if isinstance(route, Route) and isinstance(route.endpoint, Operation) and not route.param_convertors:
                for method in route.methods or ():
                    scope = {"type": "http", "method": method, "path": route.path, "root_path": ""}
                    if not any(other.matches(scope)[0] is Match.FULL for other in before):
                        self._operations[method, route.path] = route.endpoint
            before.append(route)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on."""
        operation = None
        if scope["type"] == "http" and not scope.get("root_path"):
            operation = self._operations.get((scope["method"], scope["path"]))
        if operation is None:
            return self._app(scope, receive, send)
        scope["path_params"] = {}
        return operation(scope, receive, send)
