"""`freehold limits`: setting, listing and removing, with a server and without one."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.program import Program, Server

pytestmark = pytest.mark.slow

Served = tuple[Program, Server]


def ask(server: Server, key: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """One chat with a key: status, body and headers."""
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "a"}], "max_tokens": 4}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{server.url}/v1/chat/completions", body, headers)
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as exc:
        answer = exc
    with answer:
        return answer.status, json.loads(answer.read()), {k.lower(): v for k, v in answer.headers.items()}


@pytest.fixture
def new_key(echo_server: Served) -> Callable[[str], tuple[str, str]]:
    """Makes a key of a name: its id and the key."""

    def make(name: str) -> tuple[str, str]:
        made = echo_server[0].json("keys", "create", name)
        return made["id"], made["key"]

    return make


def limit_of(program: Program, scope: str, subject: str) -> dict[str, Any] | None:
    """The limits of a subject, if there are any."""
    data = program.json("limits", "list")["data"]
    return next((entry for entry in data if (entry["scope"], entry["id"]) == (scope, subject)), None)


def test_a_limit_holds_at_once_and_is_removed(echo_server: Served, new_key: Callable[[str], tuple[str, str]]) -> None:
    """Two requests a minute on a key, called by its name: the third is refused, and served after the removal."""
    program, server = echo_server
    key_id, key = new_key("limited")
    assert f"set: key {key_id}" in program.fine("limits", "set", "key", "limited", "--requests-per-minute", "2")
    assert "unchanged" in program.fine("limits", "set", "key", key_id, "--requests-per-minute", "2")
    first, second, third = (ask(server, key) for _ in range(3))
    assert (first[0], second[0], third[0]) == (200, 200, 429)
    assert first[2]["x-ratelimit-limit-requests"] == "2"
    assert third[1]["error"]["code"] == "rate_limit_exceeded"
    assert f"key `{key_id}` on requests per minute (RPM): Limit 2" in third[1]["error"]["message"]
    assert 1 <= int(third[2]["retry-after"]) <= 30
    limit = limit_of(program, "key", key_id)
    assert limit is not None
    assert limit["used"]["requests_per_minute"] == 2
    table = program.fine("limits")
    assert key_id in table
    assert "requests per minute" in table
    program.fine("limits", "remove", "key", "limited")
    assert limit_of(program, "key", key_id) is None
    assert ask(server, key)[0] == 200


def test_a_budget_of_each_key_by_itself(echo_server: Served, new_key: Callable[[str], tuple[str, str]]) -> None:
    """A limit on `*` holds for each one, what one has of its own goes before it, and it has no figure of its use."""
    program, server = echo_server
    (_, one), (_, other), (own_id, own) = new_key("one"), new_key("other"), new_key("own")
    program.fine("limits", "set", "key", "*", "--requests-per-minute", "1")
    program.fine("limits", "set", "key", own_id, "--requests-per-minute", "3")
    try:
        assert [ask(server, one)[0], ask(server, one)[0], ask(server, other)[0]] == [200, 429, 200]
        assert [ask(server, own)[0] for _ in range(4)] == [200, 200, 200, 429]
        every = limit_of(program, "key", "*")
        assert every is not None
        assert every["used"] is None
    finally:
        program.fine("limits", "remove", "key", "*")
        program.fine("limits", "remove", "key", own_id)


def test_limits_are_set_without_a_server(program: Program) -> None:
    """On a home that nothing serves limits are kept all the same, money as it was given."""
    program.fine("limits", "set", "project", "proj-default", "--budget-per-month", "25.00", "--budget-per-day", "2.5")
    limit = limit_of(program, "project", "proj-default")
    assert limit is not None
    assert (limit["budget_per_month"], limit["budget_per_day"]) == ("25", "2.5")
    assert limit["used"]["budget_per_month"] == "0"


def test_wrong_input_is_told(program: Program) -> None:
    """A limit of nothing, money that is none, an unknown scope and what is not set end with 2 and say what is wrong."""
    assert "error: " in program.refused(2, "limits", "set", "project", "proj-default")
    assert "budget_per_day" in program.refused(
        2, "limits", "set", "project", "proj-default", "--budget-per-day", "a lot"
    )
    assert program.run("limits", "set", "planet", "earth", "--requests-per-minute", "1").returncode == 2
    assert program.run("limits", "set", "key", "k", "--requests-per-minute", "-1").returncode == 2
    assert "No limits are set" in program.refused(2, "limits", "remove", "project", "nobody")
    assert "no limits" in program.run("limits").stderr


def test_a_project_is_called_by_its_name(program: Program) -> None:
    """A limit on a project that is named is on its id, alone and with a deployment."""
    program.fine("limits", "set", "project", "Default project", "--budget-per-month", "7")
    program.fine("limits", "set", "project_deployment", "Default project/echo", "--requests-per-minute", "3")
    assert limit_of(program, "project", "proj-default") is not None
    assert limit_of(program, "project_deployment", "proj-default/echo") is not None
    program.fine("limits", "remove", "project", "Default project")
    assert limit_of(program, "project", "proj-default") is None


@pytest.mark.parametrize(
    ("scope", "subject"), [("project", "Nowhere"), ("key", "nobody"), ("project_deployment", "Nowhere/echo")]
)
def test_no_limit_is_set_on_what_is_not_there(program: Program, scope: str, subject: str) -> None:
    """A project or a key that does not exist has no limit set, which would limit nobody; the command says so."""
    assert "there is no" in program.refused(2, "limits", "set", scope, subject, "--requests-per-minute", "1")
    assert limit_of(program, scope, subject) is None


def test_two_keys_of_a_name_are_told_apart(program: Program) -> None:
    """A name that two keys have is not guessed: the ids are told."""
    ids = [program.json("keys", "create", "twin")["id"] for _ in range(2)]
    told = program.refused(2, "limits", "set", "key", "twin", "--requests-per-minute", "1")
    assert all(key_id in told for key_id in ids)
