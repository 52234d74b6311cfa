"""Every route that the running application has, walked by everybody who may not."""

import asyncio
from itertools import product
from pathlib import Path

import pytest

from freehold.api.admin.door import Allow, record
from freehold.app import open_app
from freehold.config import Settings, parse_settings
from freehold.types.identity import Role
from tests.fuzz.walking import (
    BODIES,
    JSON,
    METHODS,
    PUBLIC,
    REPORTS,
    SIGNED,
    SIGNED_TEMPLATES,
    SIGNING_IN,
    absent,
    administrative,
    bearer,
    call,
    calls,
    filled,
    routes_of,
    templates_of,
    tenant,
    told_of,
    wrong_credentials,
)

pytestmark = pytest.mark.slow

SETTINGS = parse_settings({"server": {"starter": False}}, Settings)


def test_no_route_is_open_by_oversight(tmp_path: Path) -> None:
    """Without a credential and with a wrong one every route but the public and signed ones is a 401, body unread."""

    async def walk() -> None:
        async with open_app(tmp_path, SETTINGS, engines=False) as app:
            routes = list(routes_of(app.asgi))
            public = {path for path in PUBLIC if "{" not in path}
            assert {path for _, path in routes} > public | {"/v1/models", "/admin/keys", "/openai/models"}
            for method, path in routes:
                for headers in wrong_credentials():
                    answer = await call(app.asgi, method, path, *headers)
                    expected = 200 if path in PUBLIC else 404 if path in SIGNED else 401
                    expected = SIGNING_IN.get((method, path), expected)
                    assert answer.status == expected, (method, path, headers)
            for method in METHODS:
                for path in ("/admin/", "/admin/nothing", "/admin//keys", "/admin/../admin/keys"):
                    assert (await call(app.asgi, method, path)).status == 401, (method, path)

    asyncio.run(walk())


def test_every_administrative_route_says_who_may(tmp_path: Path) -> None:
    """A route of the control plane without `allow` would be open to whoever may do anything there: there is none."""

    async def walk() -> None:
        async with open_app(tmp_path, SETTINGS, engines=False) as app:
            routes = list(administrative(app.asgi))
            assert len(routes) > 40
            for route in routes:
                guards = [inner for inner in route.dependant.dependencies if isinstance(inner.call, Allow)]
                assert len(guards) == 1, f"{route.methods} {route.path} does not say by `allow` who may"

    asyncio.run(walk())


def test_every_administrative_change_tells_what_it_changed(tmp_path: Path) -> None:
    """A route that changes something calls `record`, so that its one record in the journal has object and digests."""

    async def walk() -> None:
        async with open_app(tmp_path, SETTINGS, engines=False) as app:
            routes = list(administrative(app.asgi))
            assert not any(calls(route.endpoint, record) for route in routes if route.methods == {"GET"})
            changing = [route for route in routes if (route.methods or set()) - {"GET", "HEAD", "OPTIONS"}]
            assert len(changing) > 40
            silent = [route.path for route in changing if not calls(route.endpoint, record)]
            assert silent == []

    asyncio.run(walk())


def test_the_control_plane_is_the_administrators(tmp_path: Path) -> None:
    """A key with the role `user` is refused every route and every method of administration."""

    async def walk() -> None:
        async with open_app(tmp_path, SETTINGS, engines=False) as app:
            key = (await app.keys.issue("user", Role.USER))[1]
            assert (await call(app.asgi, "GET", "/v1/models", bearer(key))).status == 200
            paths = {path for _, path in routes_of(app.asgi) if path.startswith(("/admin/", "/v1/organization/"))}
            paths -= REPORTS
            assert len(paths) >= 30
            for path in sorted(paths | {"/admin/nothing"}):
                for method in METHODS:
                    assert (await call(app.asgi, method, path, bearer(key))).status == 403, (method, path)

    asyncio.run(walk())


@pytest.mark.slow
def test_another_tenants_objects_do_not_exist(tmp_path: Path) -> None:
    """For each role of another organization, each route with each verb tells of an object what it tells of none."""

    async def walk() -> None:
        async with open_app(tmp_path, SETTINGS, engines=False) as app:
            ours, theirs = await tenant(app, "ours"), await tenant(app, "theirs")
            templates = sorted({path for path in templates_of(app.asgi) if "{" in path} - SIGNED_TEMPLATES)
            assert len(templates) > 25
            owner = bearer(ours.keys[Role.OWNER])
            own = [await call(app.asgi, "GET", filled(path, ours.objects), owner, body=b"") for path in templates]
            assert sum(answer.status == 200 for answer in own) > 8  # so these are objects, for their owner
            nothings = {name: absent(value) for name, value in ours.objects.items()}
            for template in templates:
                there, nowhere = filled(template, ours.objects), filled(template, nothings)
                bodies = [(Role.OWNER, body) for body in BODIES] + [(role, BODIES[-1]) for role in theirs.keys]
                for (role, body), method in product(dict.fromkeys(bodies), METHODS):
                    who = bearer(theirs.keys[role])
                    found = await call(app.asgi, method, there, who, JSON, body=body)
                    missing = await call(app.asgi, method, nowhere, who, JSON, body=body)
                    told = told_of(found, there, ours.objects), told_of(missing, nowhere, ours.objects)
                    assert told[0] == told[1], (method, there, role)
                    assert found.status not in range(200, 300), (method, there, role)

    asyncio.run(walk())


def test_lists_show_ones_own_only(tmp_path: Path) -> None:
    """No list, for whichever role, holds an id, a name or an address of another organization."""

    async def walk() -> None:
        async with open_app(tmp_path, SETTINGS, engines=False) as app:
            ours, theirs = await tenant(app, "ours"), await tenant(app, "theirs")
            lists = sorted({path for path in templates_of(app.asgi) if "{" not in path or "{project_id}" in path})
            secrets = {*ours.objects.values(), "ours@example.org", "friend-of-ours@example.org"}
            shown = 0
            for template in lists:
                for role, key in theirs.keys.items():
                    path = filled(template, {**theirs.objects, "provider": "x"}) if "{" in template else template
                    answer = await call(app.asgi, "GET", path, bearer(key))
                    shown += answer.status == 200
                    leaked = [secret for secret in secrets if secret.encode() in answer.body]
                    assert not leaked, (path, role, leaked)
            assert shown > 20

    asyncio.run(walk())


@pytest.mark.parametrize(
    "headers",
    [
        ((b"host", b"admin.example.org"),),
        ((b"host", b"localhost"), (b"host", b"127.0.0.1")),
        ((b"x-forwarded-host", b"localhost"), (b"x-forwarded-for", b"127.0.0.1")),
        ((b"x-original-url", b"/version"), (b"x-rewrite-url", b"/version")),
        ((b"x-http-method-override", b"GET"),),
        ((b"forwarded", b"for=127.0.0.1;host=localhost"),),
        ((b"openai-organization", b"org-default"), (b"openai-project", b"proj-default")),
    ],
)
def test_no_header_but_a_credential_decides(tmp_path: Path, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """What is refused stays refused, and what is allowed allowed, whatever other headers say."""

    async def walk() -> None:
        async with open_app(tmp_path, SETTINGS, engines=False) as app:
            user = (await app.keys.issue("user", Role.USER))[1]
            for method, path in (("GET", "/admin/keys"), ("POST", "/admin/keys"), ("GET", "/v1/models")):
                assert (await call(app.asgi, method, path, *headers)).status == 401
                expected = 200 if path == "/v1/models" else 403
                assert (await call(app.asgi, method, path, bearer(user), *headers)).status == expected

    asyncio.run(walk())


@pytest.mark.parametrize("path", ["/v1/models", "/admin/keys"])
def test_several_credentials_are_none(tmp_path: Path, path: str) -> None:
    """Two different credentials are refused in each order; one sent twice, or by both headers, is one."""

    async def walk() -> None:
        async with open_app(tmp_path, SETTINGS, engines=False) as app:
            good, bad = bearer(app.admin_key), bearer("fh-" + "B" * 43)
            other = (b"api-key", app.admin_key.encode())
            for pair in ((good, bad), (bad, good), (other, bad), (bad, other)):
                assert (await call(app.asgi, "GET", path, *pair)).status == 401
            for pair in ((good, good), (good, other)):
                assert (await call(app.asgi, "GET", path, *pair, body=b"")).status == 200

    asyncio.run(walk())


@pytest.mark.parametrize(
    "path",
    [
        "/version/../admin/keys",
        "/admin/keys/",
        "//admin/keys",
        "/admin;x=/keys",
        "/admin/keys%00",
        "/ADMIN/keys",
        "/v1/../admin/keys",
        "/health/live/../../admin/keys",
        "/admin/keys/../../version",
        "/v1/organization//projects",
        "/v1/organization/../models",
    ],
)
def test_a_strange_path_opens_nothing(tmp_path: Path, path: str) -> None:
    """Without a credential a path that some server would read as another one is a 401 or a 404, for each method."""

    async def walk() -> None:
        async with open_app(tmp_path, SETTINGS, engines=False) as app:
            for method in METHODS:
                answer = await call(app.asgi, method, path)
                assert answer.status in {401, 404, 405}, (method, path, answer)
                assert b"fh-" not in answer.body

    asyncio.run(walk())
