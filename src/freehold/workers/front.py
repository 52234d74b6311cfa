"""The front of a worker: which requests it serves itself, and which it passes on.

Itself it serves what is asked for most: chat completions, completions and embeddings, in both dialects, for callers
with an API key. Whatever else a request needs, sessions of browsers, tokens of identity providers, kept answers, or any
other route, only the core has.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from freehold.api.azure import azure_routes
from freehold.api.direct import Direct
from freehold.api.edge import Edge
from freehold.api.openai import Forms, openai_routes
from freehold.api.operation import Operation, Plane
from freehold.errors import Unauthenticated
from freehold.governance.credentials import carries_credential, credential_from
from freehold.identity.tokens import looks_like_jwt

_OPERATIONS: Final = ("chat/completions", "completions", "embeddings")
_PREFIXES: Final = ("/v1", "/openai/v1", "/openai/deployments/{deployment}")
SERVED: Final = frozenset(f"{prefix}/{operation}" for prefix in _PREFIXES for operation in _OPERATIONS)
"""The routes, for POST, that a worker serves itself."""
_IS_SERVED: Final = re.compile(
    r"(?:/v1|/openai/v1|/openai/deployments/[^/]+)/(?:" + "|".join(_OPERATIONS) + ")"
).fullmatch


class Front:
    """Serves a request, or passes it on.

    Args:
        own: what serves it here.
        core: passes it on.
    """

    def __init__(self, own: ASGIApp, core: ASGIApp) -> None:
        self._own = own
        self._core = core
        self.leaving = False
        """Whether this worker is about to end, and passes everything on that still comes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        own = scope["type"] != "http" or (is_own(scope) and not self.leaving)
        await (self._own if own else self._core)(scope, receive, send)


def is_own(scope: Scope) -> bool:
    """Whether a worker serves a request itself."""
    if scope["method"] != "POST" or _IS_SERVED(scope["path"]) is None:
        return False
    headers = scope["headers"]
    if any(name == b"idempotency-key" for name, _ in headers):
        return False
    if not carries_credential(headers):
        return not any(name == b"cookie" for name, _ in headers)
    try:
        credential = credential_from(headers)
    except Unauthenticated:
        return True  # which is told here as well as there
    return credential is None or not looks_like_jwt(credential)


def own_application(plane: Plane, problems: dict[Any, Any]) -> ASGIApp:
    """The routes that a worker serves itself.

    Args:
        plane: what they share.
        problems: what becomes of exceptions; see `freehold.api.application`.
    """
    operation = partial(_operation, plane)
    found: list[BaseRoute] = [
        route
        for route in (*openai_routes(operation), *azure_routes(operation))
        if isinstance(route, Route) and route.path in SERVED and "POST" in (route.methods or ())
    ]
    application = Starlette(routes=found, exception_handlers=problems)
    application.router.redirect_slashes = False
    return Edge(Direct(application, found))


def _operation(
    plane: Plane,
    route: str,
    handler: Any,
    dialect: Any,
    *,
    has_body: bool = True,
    forms: Forms = Forms.NONE,  # noqa: ARG001  # none of the routes that are served here takes one
    plain: Callable[[bytes], Any] | None = None,  # noqa: ARG001  # likewise
) -> Operation:
    return Operation(route, handler, plane, dialect, has_body)
