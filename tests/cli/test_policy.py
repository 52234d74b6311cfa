"""`freehold policy`: trying policies by their cases, and on what a real server has recorded."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Program, Server

pytestmark = pytest.mark.slow

CONFIG = """
[server]
port = 0
starter = false

[[deployment]]
name = "chat"
engine = "echo"
model = "small"
zone = "eu"
price = { input = "1000", output = "1000" }

[[deployment]]
name = "abroad"
engine = "echo"
model = "large"
price = { input = "1000", output = "1000" }
"""

RULES = """
[[policy]]
name = "eu"
zones = ["eu"]

[[policy]]
name = "short"
ceilings = { max_tokens = 8 }

[[limit]]
scope = "project"
id = "proj-default"
budget_per_day = "1.17"
"""

WORKLOAD: tuple[tuple[str, int], ...] = tuple(
    (("chat", "abroad", "chat", "chat")[number % 4], (4, 4, 9, 8)[number % 4]) for number in range(16)
)
"""Which deployment each request asks, and for how many tokens."""


def chat(server: Server, key: str, model: str, max_tokens: int) -> str | None:
    """One chat: the code of its error, or None."""
    body = {"model": model, "messages": [{"role": "user", "content": "a b c"}], "max_tokens": max_tokens}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{server.url}/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60):
            return None
    except urllib.error.HTTPError as exc:
        with exc:
            code: str = json.loads(exc.read())["error"]["code"]
            return code


def served(home: Path, config: str) -> tuple[Program, list[str | None]]:
    """Have the workload served one after the other by a server of its own; the code of each request."""
    file = home.with_suffix(".toml")
    file.write_text(config, encoding="utf-8")
    program = Program(home)
    with program.serving("--config", str(file)) as server:
        key = (home / "admin.key").read_text().strip()
        return program, [chat(server, key, model, most) for model, most in WORKLOAD]


def test_a_replay_tells_what_a_server_with_these_rules_does(tmp_path: Path) -> None:
    """Of one workload a server with the rules refuses those requests that a replay of one without them names."""
    _, real = served(tmp_path / "with", CONFIG + RULES)
    program, free = served(tmp_path / "without", CONFIG)
    assert free == [None] * len(WORKLOAD)
    assert set(real) == {None, "policy_denied", "insufficient_quota"}
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES, encoding="utf-8")
    replay = program.json("policy", "replay", str(rules), "--since", "1h")
    counts = {line["reason"]: line["requests"] for line in replay["would_be_refused"]["by_reason"]}
    assert counts == {
        "policy 'eu', rule 'zones': the deployment 'abroad' is not in an allowed zone": 4,
        "policy 'short', rule 'ceilings.max_tokens'": 4,
        "limit of the budget per day of project `proj-default`": real.count("insufficient_quota"),
    }
    assert replay["let_through"] == len(WORKLOAD)
    assert replay["would_be_refused"]["total"] == len(WORKLOAD) - real.count(None)
    ids = _request_ids(program)
    for line in replay["would_be_refused"]["by_reason"]:
        for name in line["examples"]:
            assert real[ids.index(name)] in {"policy_denied", "insufficient_quota"}
    table = program.fine("policy", "replay", str(rules), "--since", "1h")
    assert f"{len(WORKLOAD) - real.count(None)} would be refused" in table
    assert "note: A refused caller may come again" in table


def _request_ids(program: Program) -> list[str]:
    """The requests of the journal in the order in which they were admitted."""
    lines = (program.home / "journal" / "main" / "00000001.jsonl").read_text().splitlines()
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [record["body"]["request_id"] for record in records if record["kind"] == "admitted"]


def test_a_replay_reads_a_copy_and_a_journal_that_is_written(tmp_path: Path) -> None:
    """While a server runs its journal can be replayed, and a copy without a home too."""
    file = tmp_path / "freehold.toml"
    file.write_text(CONFIG, encoding="utf-8")
    program = Program(tmp_path / "home")
    rules = tmp_path / "rules.toml"
    rules.write_text('[[policy]]\nname = "eu"\nzones = ["eu"]\n', encoding="utf-8")
    with program.serving("--config", str(file)) as server:
        key = (program.home / "admin.key").read_text().strip()
        assert chat(server, key, "abroad", 4) is None
        assert program.json("policy", "replay", str(rules))["would_be_refused"]["total"] == 1
        assert chat(server, key, "abroad", 4) is None
        copy = tmp_path / "copy"
        _copied(program.home / "journal", copy)
        elsewhere = Program(tmp_path / "nothing")
        found = elsewhere.json("policy", "replay", str(rules), "--journal", str(copy))
        assert found["would_be_refused"]["by_deployment"] == [{"id": "abroad", "requests": 2, "of": 2}]
        assert not elsewhere.home.exists()


def _copied(journal: Path, copy: Path) -> None:
    for file in journal.rglob("*.jsonl"):
        target = copy / file.relative_to(journal)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())


def test_limits_of_end_users_by_name_need_the_home(tmp_path: Path) -> None:
    """In a home they are counted; on a copy they are left out, and a note says so."""
    file = tmp_path / "freehold.toml"
    file.write_text(CONFIG, encoding="utf-8")
    program = Program(tmp_path / "home")
    with program.serving("--config", str(file)):
        program.fine("chat", "--model", "chat", "hello")
    rules = tmp_path / "rules.toml"
    rules.write_text('[[limit]]\nscope = "end_user"\nid = "alice"\nrequests_per_minute = 0\n', encoding="utf-8")
    assert "by name were left out" not in program.fine("policy", "replay", str(rules))
    copied = program.fine("policy", "replay", str(rules), "--journal", str(program.home / "journal"))
    assert "note: Limits of end users by name were left out" in copied


def test_cases_are_run_without_a_server(tmp_path: Path) -> None:
    """A table tells each case, what was expected and why; the exit code is 1 if one fails, and 0 if none does."""
    program = Program(tmp_path / "home")
    rules = tmp_path / "rules.toml"
    case = '[[case]]\nname = "{}"\nrequest = {{ deployment = "{}" }}\nexpect = "{}"\nreason = "{}"\n'
    rules.write_text(CONFIG + RULES + case.format("far is closed", "abroad", "deny", "eu"), encoding="utf-8")
    assert "1 cases, 0 failed" in program.fine("policy", "test", str(rules))
    with rules.open("a", encoding="utf-8") as more:
        more.write(case.format("far is open", "abroad", "allow", ""))
        more.write(case.format("near is closed by short", "chat", "deny", "short"))
    failed = program.run("policy", "test", str(rules))
    assert failed.returncode == 1
    assert "far is open" in failed.stdout
    assert "3 cases, 2 failed" in failed.stdout
    as_json = json.loads(program.run("policy", "test", str(rules), "--json").stdout)
    assert [each["passed"] for each in as_json["data"]] == [True, False, False]
    assert as_json["data"][0]["reason"].startswith("policy 'eu', rule 'zones'")
    assert not program.home.exists()


def test_a_slip_of_the_pen_is_named(tmp_path: Path) -> None:
    """A wrong key of a policy is told with its path and the likeliest meant one."""
    program = Program(tmp_path / "home")
    rules = tmp_path / "rules.toml"
    for text, told in (
        ('[[policy]]\nname = "p"\ncelings = { n = 1 }\n', "policy[0].celings: unknown key; did you mean 'ceilings'?"),
        ('[[policy]]\nname = "p"\nceilings = { max_token = 1 }\n', "did you mean 'max_tokens'?"),
        ('[[policy]]\nname = "p"\nzones = []\n', "policy[0].zones"),
        ('[[policy]]\nname = "p"\n', "policy[0]: give at least one of"),
        ('[[policy]]\nname = "p"\nzones = ["a"]\n[[policy]]\nname = "p"\nzones = ["a"]\n', "already a policy 'p'"),
        ('policies = ["none/*.toml"]\n', "policies[0]: there is no file 'none/*.toml'"),
    ):
        rules.write_text(text, encoding="utf-8")
        assert told in program.refused(2, "policy", "test", str(rules))
    rules.write_text("", encoding="utf-8")
    assert "there is no [[policy]] and no [[limit]]" in program.refused(2, "policy", "replay", str(rules))
    rules.write_text('[[policy]]\nname = "p"\nzones = ["a"]\n', encoding="utf-8")
    assert "there is no journal" in program.refused(2, "policy", "replay", str(rules))
    assert "--since" in program.refused(2, "policy", "replay", str(rules), "--since", "yesterday")


def test_policies_are_applied_listed_shown_and_deleted(tmp_path: Path) -> None:
    """A file's policies are stored together if its cases pass, without a server too; doing it again changes nothing."""
    program = Program(tmp_path / "home")
    rules = tmp_path / "rules.toml"
    case = '[[case]]\nname = "c"\nrequest = { deployment = "x", zone = "us" }\nexpect = "deny"\n'
    rules.write_text(RULES + case.replace("deny", "allow"), encoding="utf-8")
    assert "the case 'c' expects 'allow'" in program.refused(2, "policies", "apply", str(rules))
    assert program.json("policies")["data"] == []
    rules.write_text(RULES + case, encoding="utf-8")
    assert program.fine("policies", "apply", str(rules)).split() == ["set", "eu", "set", "short"]
    assert program.fine("policies", "apply", str(rules)).split() == ["unchanged", "eu", "unchanged", "short"]
    assert "zones eu" in program.fine("policies", "list")
    assert program.json("policies", "show", "eu")["settings"] == {"name": "eu", "zones": ["eu"]}
    assert program.fine("policies", "delete", "eu") == "deleted: eu\n"
    assert "No policy has the name 'eu'" in program.refused(2, "policies", "show", "eu")
