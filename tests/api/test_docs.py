"""The reference of the administration APIs at `/docs`."""

import base64
import hashlib
import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import urlencode

import pytest
from fastapi import APIRouter
from pydantic import BaseModel, Field

from freehold.api.admin.application import control_plane
from freehold.api.admin.door import allow
from freehold.api.docs_page import key_page, reference_page
from freehold.types.identity import Action
from tests.service import Reply, Service


class Inner(BaseModel):
    """What stands in the other."""

    depth: int = Field(ge=1, le=9)


class Outer(BaseModel):
    """A body with `code` and <script>alert(1)</script>."""

    name: str = Field(max_length=7, description="what it is <b>called</b>")
    inner: list[Inner] | None = None


def page() -> str:
    """The page of an application with one operation."""
    router = APIRouter(tags=["things"])

    @router.post("/things/{thing_id}", dependencies=[allow(Action.WRITE_LIMITS)])
    async def change(thing_id: str, body: Outer, often: int = 3) -> dict[str, str]:
        """Change a thing.

        More about it, with `code`.
        """
        return {"id": thing_id, "name": body.name, "often": str(often)}

    return reference_page({"/admin": control_plane("Things", [router]).openapi()})


def test_an_operation_is_shown_whole() -> None:
    """Method, path, what it does, which action it is, its parameters, and its body with what stands in it."""
    shown = unescape(re.sub(r"<wbr>|</?var>", "", page()))
    for told in (
        "POST</span> <code>/admin/things/{thing_id}</code>",
        "Change a thing.",
        "<p>More about it, with <code>code</code>.</p>",
        "Needs <code>limits:write</code>",
        "thing_id (path)",
        "default <code>3</code>",
        '<td class="depth-0"><code>name</code> <strong class="required">required</strong></td><td>string</td>',
        "at most 7 characters",
        "array of object or null",
        '<td class="depth-1"><code>depth</code>',
        "at least 1, at most 9",
    ):
        assert told in shown, told
    assert "422" not in shown


def test_nothing_of_a_document_is_markup() -> None:
    """Texts of the document are escaped, and there is no script and no address of anywhere else."""
    for shown in (page(), key_page("<script>alert(1)</script> `x`")):
        assert "<script" not in shown
        assert "<b>called" not in shown
        assert not re.search(r"https?://", shown)
        assert " style=" not in shown
        assert " on" not in "".join(re.findall(r"<[^>]*>", shown.replace("<style>", "")))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with the echo engine."""
    with Service(tmp_path_factory.mktemp("home")) as service:
        yield service


def ask(service: Service, key: str) -> Reply:
    """The reference, asked for as the form does."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return service.request("POST", "/docs/reference", urlencode({"key": key}).encode(), headers=headers)


@pytest.mark.slow
def test_the_reference_is_behind_the_door(service: Service) -> None:
    """Without a key there is a form and nothing else; with an administrator's key, by form or header, the reference."""
    form = service.get("/docs")
    assert form.status == 200
    assert b"/docs/reference" in form.body
    assert b"service_accounts" not in form.body
    for reply in (ask(service, service.key), service.get("/docs", key=service.key)):
        assert reply.status == 200
        assert b"service_accounts" in reply.body
        assert b"/admin" in reply.body
    assert ask(service, "fh-wrong").status == 401
    assert ask(service, "é\n").status == 401
    user = service.post("/admin/keys", {"name": "user"}).json()["key"]
    refused = ask(service, user)
    assert (refused.status, b"service_accounts" in refused.body) == (403, False)
    assert service.get("/docs", key=user).status == 403
    assert ask(service, "x" * 5000).status == 413


@pytest.mark.slow
def test_each_sees_what_is_for_it(service: Service) -> None:
    """Members of another organization are shown that of organizations, not that of the service."""
    made = service.post("/admin/organizations", {"name": "Example Ltd"}).json()["api_key"]["value"]
    reply = ask(service, made)
    assert reply.status == 200
    assert b"audit_logs" in reply.body
    assert b"backup" not in reply.body
    documents = {path: service.get(f"{path}/openapi.json", key=made).status for path in ("/v1/organization", "/admin")}
    assert documents == {"/v1/organization": 200, "/admin": 404}
    assert service.get("/admin/openapi.json").status == 401


@pytest.mark.slow
def test_every_operation_is_there(service: Service) -> None:
    """Each operation of both documents is on the page, with the action that it needs."""
    shown = re.sub(r"<wbr>|</?var>", "", service.get("/docs", key=service.key).body.decode())
    count = 0
    for prefix in ("/v1/organization", "/admin"):
        document = service.get(f"{prefix}/openapi.json", key=service.key).json()
        for path, item in document["paths"].items():
            for method, operation in item.items():
                assert f"{method.upper()}</span> <code>{prefix}{path}</code>" in shown
                assert operation["x-freehold-action"] in set(Action)
                count += 1
    assert count == shown.count("<details ")
    assert count > 50


@pytest.mark.slow
def test_the_policy_lets_in_the_style_and_nothing_else(service: Service) -> None:
    """The style's digest is the one that the policy allows; scripts, frames and other origins are not allowed."""
    reply = service.get("/docs", key=service.key)
    (style,) = re.findall(r"<style>(.*)</style>", reply.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert reply.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert reply.headers["cache-control"] == "no-store"
