"""Every route that the running application has, walked by everybody who may not."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Scope

from freehold.app import open_app
from freehold.config import Settings, parse_settings
from freehold.store.database import Database
from freehold.types.identity import Role
from tests.keys import open_keys

PUBLIC = {"/", "/health/live", "/health/ready", "/metrics", "/version"}
"""What answers without a credential; a route that is added here needs a reason."""
SIGNED = {"/v1/images/files/echo"}
"""What answers to a signature in the address instead; without one, as if there were nothing."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def routes_of(app: ASGIApp, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path of an application, through whatever is wrapped around it."""
    while not isinstance(app, Starlette):
        app = app._app  # type: ignore[attr-defined]  # every layer of ours keeps what it wraps so
    for route in app.routes:
        yield from _paths(route, prefix)


def _paths(route: BaseRoute, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(route, Mount):
        yield from routes_of(route.app, prefix + route.path)
    elif (router := getattr(route, "original_router", None)) is not None:  # what FastAPI keeps of a router
        for inner in router.routes:
            yield from _paths(inner, prefix)
    else:
        assert isinstance(route, Route), f"a kind of route that this test does not know: {route}"
        path = re.sub(r"\{[^}]*\}", "echo", prefix + route.path)
        yield from ((method, path) for method in sorted((route.methods or set()) - {"HEAD"}))


async def call(app: ASGIApp, method: str, path: str, key: str | None) -> int:
    """The status of a request with a body that is not even JSON: who may not come in must not learn that."""
    status = 0
    requests: list[Message] = [{"type": "http.request", "body": b"{", "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await asyncio.Event().wait()
        raise AssertionError("waits for ever")

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"api-version=2024-10-21",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return status


def test_no_route_is_open_by_oversight(tmp_path: Path) -> None:
    """Without a credential and with a wrong one every route but the public and signed ones is a 401, body unread."""
    settings = parse_settings(json.loads('{"server": {"starter": false}}'), Settings)

    async def walk() -> None:
        async with open_app(tmp_path, settings, engines=False) as app:
            routes = list(routes_of(app.asgi))
            assert {path for _, path in routes} > PUBLIC | {"/v1/models", "/admin/keys", "/openai/models"}
            for method, path in routes:
                for key in (None, "fh-wrong", "Bearer", "é"):
                    status = await call(app.asgi, method, path, key)
                    expected = 200 if path in PUBLIC else 404 if path in SIGNED else 401
                    assert status == expected, (method, path, key)
            for method in METHODS:
                for path in ("/admin/", "/admin/nothing", "/admin//keys", "/admin/../admin/keys"):
                    assert await call(app.asgi, method, path, None) == 401, (method, path)

    asyncio.run(walk())


def test_the_control_plane_is_the_owners(tmp_path: Path) -> None:
    """A key with the role `user` is refused every route and every method under /admin."""
    settings = parse_settings(json.loads('{"server": {"starter": false}}'), Settings)

    async def user_key() -> str:
        database = await Database.open(tmp_path / "freehold.db")
        try:
            pepper = (tmp_path / "secrets" / "pepper").read_bytes()
            return (await (await open_keys(database, pepper)).issue("user", Role.USER))[1]
        finally:
            await database.close()

    async def walk() -> None:
        async with open_app(tmp_path, settings, engines=False):
            pass
        key = await user_key()
        async with open_app(tmp_path, settings, engines=False) as app:
            assert await call(app.asgi, "GET", "/v1/models", key) == 200
            admin = {path for _, path in routes_of(app.asgi) if path.startswith("/admin/")}
            assert len(admin) >= 6
            for path in sorted(admin | {"/admin/nothing"}):
                for method in METHODS:
                    assert await call(app.asgi, method, path, key) == 403, (method, path)

    asyncio.run(walk())
