"""The settings of MCP servers, and the filters of requests."""

from typing import Any

import pytest
from pydantic import ValidationError

from freehold.config import Settings, parse_settings
from freehold.errors import ConfigError
from freehold.types.mcp import McpTool, same_address

URL = "https://tools.example.org/mcp"


def problem(**keys: Any) -> str:
    """What is wrong with a server's table."""
    with pytest.raises(ConfigError) as caught:
        parse_settings({"mcp_server": [{"label": "desk", "url": URL, **keys}]}, Settings)
    return caught.value.message


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"url": "http://127.0.0.1:9000/mcp"},
        {"url": "http://localhost/mcp"},
        {"url": "http://[::1]:8000/"},
        {"url": "http://tools.lan/mcp", "plain_http": True},
        {"url": "https://tools.example.org/mcp?tenant=1"},
    ],
)
def test_a_server_is_accepted(keys: dict[str, Any]) -> None:
    """An address over TLS, on this machine, or in plain text where the operator says so is one."""
    parse_settings({"mcp_server": [{"label": "desk", "url": URL, **keys}]}, Settings)
    assert Settings().mcp_server == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"url": "http://tools.example.org/mcp"},
            "mcp_server[0]: url: 'http://tools.example.org/mcp' must begin with https",
        ),
        ({"url": "http://127.0.0.1.nip.io/mcp"}, "must begin with https"),
        ({"url": "ftp://tools.example.org"}, "mcp_server[0].url: 'ftp://tools.example.org' must be an address such as"),
        ({"url": "https:///mcp"}, "must be an address such as"),
        ({"url": "https://tools.example.org:99999/"}, "must be an address such as"),
        ({"url": "https://tools.example.org/a b"}, "must be an address such as"),
        ({"url": "https://me:secret@tools.example.org/"}, "must hold no credentials"),
        ({"url": f"{URL}#part"}, "must have no fragment"),
        ({"label": "a b"}, "mcp_server[0].label"),
        ({"authorization": {"env": "A", "file": "b"}}, "give either 'env' or 'file'"),
        ({"authorization": "secret"}, "mcp_server[0].authorization"),
        ({"require_approval": "sometimes"}, "mcp_server[0].require_approval"),
        ({"timeout_s": 0}, "mcp_server[0].timeout_s"),
        ({"max_output_bytes": 10}, "mcp_server[0].max_output_bytes"),
        ({"tools": []}, "mcp_server[0].tools"),
        ({"projects": []}, "mcp_server[0].projects"),
        ({"allowed_tools": ["a"]}, "mcp_server[0].allowed_tools: unknown key"),
    ],
)
def test_a_wrong_server_is_refused(keys: dict[str, Any], message: str) -> None:
    """A wrong value is an error that begins with its path; a secret in it is not repeated."""
    found = problem(**keys)
    assert message in found
    assert "secret" not in found


def test_two_servers_have_two_labels() -> None:
    """A label is taken once."""
    two = [{"label": "desk", "url": URL}, {"label": "desk", "url": "https://other.example.org"}]
    with pytest.raises(ConfigError, match=r"mcp_server\[1\]: there is already a 'desk'"):
        parse_settings({"mcp_server": two}, Settings)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (URL, True),
        (f"{URL}/", True),
        ("https://TOOLS.example.org:443/mcp", True),
        ("https://tools.example.org/MCP", False),
        ("https://tools.example.org/mcp?x=1", False),
        ("https://tools.example.org/mcp/../admin", False),
        ("https://tools.example.org/mcp\n", False),
        ("no address", False),
    ],
)
def test_addresses_are_compared_by_where_they_lead(other: str, same: bool) -> None:
    """Ways to write one address are equal, and nothing else is."""
    assert same_address(URL, other) is same


def test_two_addresses_that_are_none_are_not_the_same() -> None:
    """What cannot be read leads nowhere, not even to itself."""
    assert not same_address("https://[::1", "https://[::1")


@pytest.mark.parametrize(
    "keys",
    [
        {"allowed_tools": {}},
        {"allowed_tools": {"names": ["a"]}},
        {"require_approval": "sometimes"},
        {"require_approval": {"always": {}}},
        {"require_approval": {"sometimes": {"read_only": True}}},
        {"unknown": 1},
        {"headers": {"a": 1}},
    ],
)
def test_a_tool_of_a_request_is_closed(keys: dict[str, Any]) -> None:
    """Unknown keys, values of other types and filters that filter nothing are errors."""
    with pytest.raises(ValidationError):
        McpTool.model_validate({"type": "mcp", "server_label": "desk", **keys})


def test_a_tool_does_not_show_its_credentials() -> None:
    """Neither the token nor the headers of a request stand in what is printed of it."""
    tool = McpTool(type="mcp", server_label="desk", authorization="sesame", headers={"x": "sesame"})
    assert "sesame" not in repr(tool)


def test_only_what_says_that_it_reads_counts_as_reading() -> None:
    """A tool without annotations, or with other ones, is not taken for one that only reads."""
    tool = McpTool.model_validate(
        {"type": "mcp", "server_label": "desk", "require_approval": {"never": {"read_only": True}}}
    )
    assert tool.approves("look", {"readOnlyHint": True})
    assert not tool.approves("look", {"readOnlyHint": "yes"})
    assert not tool.approves("look", None)
    assert not tool.approves("look", {"destructiveHint": False})
