"""Walking through every route of an application, as somebody or as nobody."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Scope

from freehold.app import App
from freehold.governance.directory import WHOLE
from freehold.store.suspensions import SuspensionRow
from freehold.types.deployment import DeploymentSettings
from freehold.types.identity import Role
from freehold.web.pages import page_routes
from tools.routes import leaves

PARAMETER = re.compile(r"\{[^}]*\}")
PAGES = {
    path
    for _, route in leaves(Starlette(routes=page_routes()))
    for path in (route.path, PARAMETER.sub("echo", route.path))
}
"""The product's files, which are the same for everybody: what they show comes from the API."""
PUBLIC = {"/docs", "/health/live", "/health/ready", "/metrics", "/version"} | PAGES
"""What answers without a credential; a route that is added here needs a reason. `/docs` asks for a key, no more."""
REPORTS = {
    f"/v1/organization/{name}"
    for name in ("costs", *(f"usage/{kind}" for kind in ("completions", "embeddings", "images", "moderations")))
}
"""What is a matter of the data plane, with a role of its own."""
SIGNED = {"/v1/images/files/echo"}
"""What answers to a signature in the address instead; without one, as if there were nothing."""
SIGNED_TEMPLATES = {"/v1/images/files/{picture_id}"}
SIGNING_IN = {
    ("GET", "/signin"): 200,
    ("GET", "/signin/callback/echo"): 404,
    ("GET", "/signin/link/echo"): 404,
    ("POST", "/signin"): 403,
    ("POST", "/signin/link/echo"): 403,
    ("POST", "/signin/with/echo"): 403,
    ("POST", "/signout"): 403,
}
"""Pages for people who have no credential yet: no form is taken that does not come from our own page."""
JSON = (b"content-type", b"application/json")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request."""

    status: int
    body: bytes


def routes_of(app: ASGIApp, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path of an application, through whatever is wrapped around it."""
    for before, route in leaves(app, prefix):
        path = PARAMETER.sub("echo", before + route.path)
        yield from ((method, path) for method in sorted((route.methods or set()) - {"HEAD"}))


def templates_of(app: ASGIApp) -> Iterator[str]:
    """The path of every route that is not public, parameters in braces."""
    yield from (prefix + route.path for prefix, route in leaves(app) if prefix + route.path not in PUBLIC)


def administrative(app: ASGIApp) -> Iterator[APIRoute]:
    """Every route of the control plane."""
    for _, route in leaves(app):
        if isinstance(route, APIRoute):
            yield route


def filled(template: str, names: Mapping[str, str]) -> str:
    """A path with its parameters."""
    return re.sub(r"{([a-z_]+)(?::[a-z]+)?}", lambda match: names.get(match[1], "nothing"), template)


def absent(name: str) -> str:
    """A name as long as another one, that nothing has."""
    return name[:-4] + "zzzz" if len(name) > 8 else "nonesuch"


def told_of(answer: Answer, path: str, objects: Mapping[str, str]) -> tuple[int, bytes]:
    """What an answer says, less the names that the caller gave."""
    body = answer.body.replace(path.encode(), b"PATH")
    for name in objects.values():
        body = body.replace(name.encode(), b"NAME").replace(absent(name).encode(), b"NAME")
    return answer.status, body


async def call(app: ASGIApp, method: str, path: str, *headers: tuple[bytes, bytes], body: bytes = b"{") -> Answer:
    """A request, by default with a body that is not even JSON: who may not come in must not learn that."""
    status = 0
    answered = b""
    requests: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await asyncio.Event().wait()
        raise AssertionError("waits for ever")

    async def send(message: Message) -> None:
        nonlocal status, answered
        if message["type"] == "http.response.start":
            status = message["status"]
        answered += message.get("body", b"")

    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path.partition("?")[0],
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": f"api-version=2024-10-21&{path.partition('?')[2]}".encode(),
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return Answer(status, answered)


def bearer(key: str) -> tuple[bytes, bytes]:
    """The header of OpenAI's clients."""
    return b"authorization", f"Bearer {key}".encode()


def wrong_credentials() -> Iterator[tuple[tuple[bytes, bytes], ...]]:
    """No credential, and wrong ones through each header that one can come in."""
    yield ()
    for value in ("fh-wrong", "Bearer", "é", "fh-" + "A" * 43, "x" * 5000):
        yield (bearer(value),)
        yield ((b"api-key", value.encode()),)
    yield ((b"authorization", b"Basic YTpi"),)
    yield ((b"cookie", b"__Host-freehold=" + b"A" * 43),)
    yield (bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."),)


@dataclass(frozen=True, slots=True)
class Tenant:
    """One organization with something of everything, and a key of each role."""

    objects: dict[str, str]
    """The name of a path's parameter → an object that is the tenant's."""
    keys: dict[str, str]


async def tenant(app: App, name: str) -> Tenant:
    """Make an organization with a project, members and keys; each role is held in the whole organization."""
    organization = await app.directory.create_organization(name)
    (project,) = app.directory.projects(organization.id)
    owner = await app.directory.create_service_account(organization.id, None, "owner", [Role.OWNER])
    user = await app.directory.create_user(organization.id, f"{name}@example.org", name, [Role.OWNER])
    await app.directory.set_roles(user.id, project.id, [Role.USER])
    account = await app.directory.create_service_account(organization.id, project.id, "bot", [Role.USER])
    key, _ = await app.keys.create("bot's", account, project.id)
    admin_key, _ = await app.keys.create("script", owner, WHOLE)
    invite = await app.invites.create(organization.id, f"friend-of-{name}@example.org", Role.READER)
    deployment = f"{name}-private"
    settings = DeploymentSettings(name=deployment, model="echo", engine="echo", project=project.id)
    await app.control.create(settings)
    keys = {}
    for role in app.directory.roles.names():
        holder = await app.directory.create_service_account(organization.id, None, role, [role])
        keys[role] = (await app.keys.create(role, holder, project.id))[1]
    row = SuspensionRow(
        "", organization.id, project.id, "principal", account.id, f"reason of {name}", False, None, owner.id, 0
    )
    _, suspension = await app.people.suspensions.put(row)
    conversation_id, item_id = await conversation(app, keys[Role.USER], name)
    objects = {
        "conversation_id": conversation_id,
        "item_id": item_id,
        "subject": account.id,
        "suspension_id": suspension.id,
        "project_id": project.id,
        "user_id": user.id,
        "service_account_id": account.id,
        "api_key_id": key.id,
        "key_id": admin_key.id,
        "invite_id": invite.id,
        "rate_limit_id": f"rl-{deployment}",
        "deployment": deployment,
        "model": deployment,
        "name": deployment,
    }
    return Tenant(objects, keys)


async def conversation(app: App, key: str, name: str) -> tuple[str, str]:
    """A conversation that belongs to the project of a service account's key, and the item in it."""
    said = {"metadata": {"of": name}, "items": [{"role": "user", "content": f"words of {name}"}]}
    made = await call(app.asgi, "POST", "/v1/conversations", bearer(key), JSON, body=json.dumps(said).encode())
    conversation_id = json.loads(made.body)["id"]
    items = await call(app.asgi, "GET", f"/v1/conversations/{conversation_id}/items", bearer(key))
    return conversation_id, json.loads(items.body)["data"][0]["id"]


BODIES = (b"{}", b'{"name":"x","role":"owner","email":"a@example.org","source":"x"}')
"""Bodies that some route accepts, so that it is not the body that is refused."""


def calls(function: Callable[..., Any], wanted: Callable[..., Any]) -> bool:
    """Whether a function names another one, by itself or through functions of its own module."""
    seen: set[object] = set()
    left: list[object] = [function]
    while left:
        here = left.pop()
        if here is wanted:
            return True
        if not isinstance(here, FunctionType) or here in seen:
            continue
        seen.add(here)
        named = [here.__globals__.get(name) for name in names_in(here.__code__)]
        enclosed = [cell.cell_contents for cell in here.__closure__ or ()]
        own = [each for each in (*named, *enclosed) if getattr(each, "__module__", None) == here.__module__]
        left += own + [each for each in named if each is wanted]
    return False


def names_in(code: CodeType) -> set[str]:
    """The names that a piece of code uses, with what stands in it."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return {*code.co_names, *(name for each in inner for name in names_in(each))}
