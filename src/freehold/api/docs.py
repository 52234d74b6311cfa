"""`/docs`: the reference of both administration APIs, made of their OpenAPI documents, without a script.

What it tells is behind the same door as the APIs themselves: who has not signed in is asked for a key. That goes to the
server in the body of one request, and is kept nowhere.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from freehold.api.body import read_limited
from freehold.api.docs_page import STYLE_SHA256, key_page, reference_page
from freehold.api.door import Door
from freehold.errors import Forbidden, Unauthenticated
from freehold.governance.directory import ORGANIZATION
from freehold.types.identity import Principal

if TYPE_CHECKING:
    from fastapi import FastAPI

ORGANIZATION_API: Final = "/v1/organization"
SERVICE_API: Final = "/admin"
_MOST_BYTES: Final = 4096
_HEADERS: Final = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{STYLE_SHA256}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def docs_routes(door: Door, organization: "Callable[[], FastAPI]", service: "Callable[[], FastAPI]") -> list[BaseRoute]:
    """The routes.

    Args:
        door: knows who is asking.
        organization: makes the application whose document is for every administrator.
        service: makes the one that is for the organization that runs the service.
    """
    shelf = _Shelf(organization, service)

    async def shown(principal: Principal) -> Response:
        if not door.administers(principal):
            raise Forbidden("You are not allowed to do this: no role of yours allows administration.")
        return HTMLResponse(await shelf.page(principal.organization_id == ORGANIZATION), headers=_HEADERS)

    async def docs(request: Request) -> Response:
        """The reference or, for who has no credential, a form that asks for a key."""
        try:
            principal = await door.authenticate(request.scope)
        except Unauthenticated:
            return HTMLResponse(key_page(), headers=_HEADERS)
        return await shown(principal)

    async def docs_by_key(request: Request) -> Response:
        """The reference, for a key in a form's field."""
        body = await read_limited(request.scope, request.receive, _MOST_BYTES)
        key = parse_qs(body.decode("latin-1"), encoding="latin-1").get("key", [""])[0].strip()
        headers = [(b"authorization", b"Bearer " + key.encode("latin-1"))]
        try:
            principal = await door.authenticate({**request.scope, "headers": headers})
            return await shown(principal)
        except (Unauthenticated, Forbidden) as exc:
            return HTMLResponse(key_page(exc.message), exc.status, _HEADERS)

    return [Route("/docs", docs, methods=["GET"]), Route("/docs/reference", docs_by_key, methods=["POST"])]


class _Shelf:
    """The pages, made when they are first asked for."""

    def __init__(self, organization: "Callable[[], FastAPI]", service: "Callable[[], FastAPI]") -> None:
        self._makers = {ORGANIZATION_API: organization, SERVICE_API: service}
        self._pages: dict[bool, str] = {}

    async def page(self, everything: bool) -> str:
        """The page for members of the organization that runs the service, or for those of others."""
        if everything not in self._pages:
            chosen = [path for path in self._makers if everything or path != SERVICE_API]
            documents = {path: await asyncio.to_thread(partial(_document, self._makers[path])) for path in chosen}
            self._pages[everything] = await asyncio.to_thread(reference_page, documents)
        return self._pages[everything]


def _document(make: "Callable[[], FastAPI]") -> dict[str, Any]:
    return make().openapi()
