"""Which MCP servers a request may name, and what it may send there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import ConfigError, Forbidden, FreeholdError, InvalidRequest, UnsupportedParameter
from freehold.gateway.remote_session import RemoteSession, SecretHeaders
from freehold.gateway.remote_tools import RemoteTools
from freehold.types.identity import DATA_PLANE, Action
from freehold.types.mcp import McpServerSettings
from tests.gateway.remote import Trial, settings, with_tools

URL = "https://tools.example.org/mcp"
ELSEWHERE = McpServerSettings(label="theirs", url="https://theirs.example.org/", projects=("proj_b*",))


def refusal(home: Path, tool: dict[str, Any], **more: Any) -> FreeholdError:
    """How a request's tool is refused."""
    found: list[FreeholdError] = []

    async def trial(its: Trial) -> None:
        with pytest.raises(FreeholdError) as caught:
            its.server(**tool)
        found.append(caught.value)

    with_tools(home, trial, settings(URL, **more), ELSEWHERE)
    return found[0]


@pytest.mark.parametrize("url", [None, URL, f"{URL}/", "HTTPS://Tools.Example.org:443/mcp"])
def test_a_server_is_named_by_its_label(tmp_path: Path, url: str | None) -> None:
    """The label is enough, and an address beside it must be the operator's, however it is written."""

    async def trial(its: Trial) -> None:
        server = its.server(server_url=url)
        assert (server.label, server.settings.url, dict(server.headers)) == ("desk", URL, {})

    with_tools(tmp_path, trial, settings(URL, projects=["proj_[ab]"]))


@pytest.mark.parametrize(
    ("tool", "more"),
    [
        ({"server_label": "nobody"}, {}),
        ({"server_label": "theirs"}, {}),
        ({}, {"projects": ["proj_c"]}),
        ({"server_url": "https://tools.example.org/other"}, {}),
        ({"server_url": "http://tools.example.org/mcp"}, {}),
        ({"server_url": "https://tools.example.org.evil.test/mcp"}, {}),
        ({"server_url": "https://someone@tools.example.org/mcp"}, {}),
        ({"server_url": "https://tools.example.org:8443/mcp"}, {}),
        ({"server_url": "https://[::1/mcp"}, {}),
        ({"server_url": ""}, {}),
        ({"server_label": "nobody", "server_url": URL}, {}),
    ],
)
def test_what_is_not_allowed_is_refused_alike(tmp_path: Path, tool: dict[str, Any], more: dict[str, Any]) -> None:
    """An unknown server, another project's and another address get one and the same answer, which tells nothing."""
    error = refusal(tmp_path, tool, **more)
    assert isinstance(error, Forbidden)
    assert (error.status, error.code, error.param) == (403, "mcp_server_not_allowed", "tools.server_label")
    assert error.message == refusal(tmp_path / "again", {"server_label": "unheard-of"}).message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connector_id", "connector_gmail"),
        ("tunnel_id", "tunnel_" + "a" * 32),
        ("defer_loading", True),
        ("allowed_callers", ["programmatic"]),
    ],
)
def test_what_there_is_not_is_refused_by_name(tmp_path: Path, name: str, value: object) -> None:
    """Connectors, tunnels, deferred loading and other callers are refused with the parameter's name."""
    error = refusal(tmp_path, {name: value})
    assert isinstance(error, UnsupportedParameter)
    assert error.param == f"tools.{name}"


def test_what_asks_for_nothing_is_accepted(tmp_path: Path) -> None:
    """Parameters that say what is so anyway are no error."""

    async def trial(its: Trial) -> None:
        server = its.server(defer_loading=False, allowed_callers=["direct"], headers=None, allowed_tools=None)
        assert server.label == "desk"

    with_tools(tmp_path, trial, settings(URL))


@pytest.mark.parametrize(
    ("tool", "param"), [({"authorization": "t"}, "authorization"), ({"headers": {"a": "b"}}, "headers")]
)
def test_credentials_of_callers_need_the_operators_leave(tmp_path: Path, tool: dict[str, Any], param: str) -> None:
    """Without `pass_authorization`, a request that has a credential or headers is refused, not stripped of them."""
    error = refusal(tmp_path, tool)
    assert (error.status, error.code, error.param) == (403, "mcp_authorization_not_allowed", f"tools.{param}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "elsewhere"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Accept-Encoding": "gzip"},
        {"Mcp-Session-Id": "1"},
        {"X-Forwarded-For": "10.0.0.1"},
        {"Cookie": "a=b"},
        {"a b": "c"},
        {"": "c"},
        {"x": "one\r\nhost: two"},
        {"x": "ü"},
    ],
)
def test_headers_that_are_not_callers_are_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    """A header of the protocol or of the connection, and what is no header, cannot be passed on."""
    error = refusal(tmp_path, {"headers": headers}, pass_authorization=True)
    assert isinstance(error, InvalidRequest)
    assert error.param == "tools.headers"


def test_a_token_with_a_line_break_is_refused(tmp_path: Path) -> None:
    """A credential cannot bring a header with it."""
    error = refusal(tmp_path, {"authorization": "t\r\nhost: x"}, pass_authorization=True)
    assert (error.code, error.param) == ("invalid_value", "tools.authorization")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "cannot be read"),
        ("", "must be one line of ASCII"),
        ("a\nb", "must be one line"),
        ("ü", "must be one line"),
    ],
)
def test_a_secret_that_is_none_stops_the_start(tmp_path: Path, token: str | None, message: str) -> None:
    """A server whose credential cannot be read or sent is an error of the configuration, not of the first call."""
    if token is not None:
        (tmp_path / "token").write_text(token, encoding="utf-8")

    async def trial(_: Trial) -> None:
        raise AssertionError("not reached")

    with pytest.raises(ConfigError, match=message):
        with_tools(tmp_path, trial, settings(URL, authorization={"file": str(tmp_path / "token")}))


def test_a_right_that_is_taken_away_meanwhile_is_gone(tmp_path: Path) -> None:
    """Whoever might call tools when the response was begun may not when its role is another by the time of a call."""

    async def trial(its: Trial) -> None:
        now = {"principal": its.principal}
        again = RemoteTools([settings(URL)], its.books, its.tools._permits, lambda _: now["principal"])
        session = RemoteSession(settings(URL), SecretHeaders())
        now["principal"] = replace(its.principal, actions=DATA_PLANE - {Action.CALL_TOOLS})
        with pytest.raises(Forbidden, match="tools:call"):
            await again.list(its.principal, its.server(), parent=its.parent, session=session)
        (receipt,) = its.receipts()
        assert (receipt["outcome"], receipt["authorization"][:5]) == ("refused", "deny:")
        await again.close()

    with_tools(tmp_path / "home", trial, settings(URL))
