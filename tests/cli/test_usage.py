"""`freehold usage` and `freehold reconcile`."""

import csv
import io
import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.program import Program
from tests.postgres import PostgreSQL

CONFIG = """
[server]
port = 0
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo-model"
price = { input = "1000", output = "2000" }

[[deployment]]
name = "free"
engine = "echo"
model = "echo-model"
"""


def call(url: str, key: str, deployment: str, user: str) -> None:
    """One chat completion of three tokens each way."""
    body = {"model": deployment, "user": user, "messages": [{"role": "user", "content": "one two three"}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        response.read()


def use(program: Program, url: str) -> None:
    """Two calls by ann and one by bob to `echo`, one by ann to `free`."""
    key = (program.home / "admin.key").read_text().strip()
    for deployment, user in (("echo", "ann"), ("echo", "ann"), ("echo", "bob"), ("free", "ann")):
        call(url, key, deployment, user)


@pytest.fixture(scope="module")
def billed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A running server that was used."""
    folder = tmp_path_factory.mktemp("billed")
    config = folder / "freehold.toml"
    config.write_text(CONFIG)
    program = Program(folder / "home")
    with program.serving("--config", str(config)) as server:
        use(program, server.url)
        yield program


@pytest.mark.slow
def test_projects_and_keys_are_called_by_their_names(billed: Program) -> None:
    """What a project or a key used is told by its name too, and a name that nothing has is refused, not nothing."""
    for option, name in (("--project", "Default project"), ("--key", "admin")):
        assert billed.json("usage", option, name)["total"]["requests"] == 4
        assert "there is no" in billed.refused(2, "usage", option, "nonsense")


@pytest.mark.slow
def test_a_month_by_day(billed: Program) -> None:
    """Without options the month's days are listed with requests, tokens, the cost in whole units, and the total."""
    lines = [line.split() for line in billed.fine("usage").splitlines()]
    assert lines[0] == ["DAY", "REQUESTS", "PROMPT", "CACHED", "COMPLETION", "REASONING", "IMAGES", "COST"]
    assert lines[-1] == ["total", "4", "12", "0", "12", "0", "0", "0.027"]
    datetime.strptime(lines[1][0], "%Y-%m-%d").replace(tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("deployment", ["echo", "free"]),
        ("project", ["proj-default"]),
        ("outcome", ["finished"]),
        ("model", ["echo-model"]),
    ],
)
def test_kinds_of_sums(billed: Program, by: str, keys: list[str]) -> None:
    """Sums by deployment, project, outcome or model have one line each, the dearest first, as values for a script."""
    rows = list(csv.DictReader(io.StringIO(billed.fine("usage", "--by", by, "--csv"))))
    assert [row[by] for row in rows] == keys
    assert sum(int(row["requests"]) for row in rows) == 4
    assert rows[0]["cost"] == "0.027"


@pytest.mark.slow
def test_an_end_user_is_found_by_name_and_shown_as_digest(billed: Program) -> None:
    """`--end-user` takes the caller's name or the digest that is listed; the name stands in no answer."""
    listed = billed.json("usage", "--by", "end-user")
    assert "ann" not in json.dumps(listed)
    digests = {line["requests"]: line["key"] for line in listed["data"]}
    for name in ("ann", digests[3]):
        assert billed.json("usage", "--end-user", name)["total"]["requests"] == 3
    assert billed.json("usage", "--end-user", "bob", "--deployment", "free")["data"] == []
    assert billed.json("usage", "--end-user", "ann", "--end-user", "bob")["total"]["requests"] == 4


@pytest.mark.slow
def test_ranges_and_filters(billed: Program) -> None:
    """A day given as the last is counted whole; what began before or after is left out."""
    today = datetime.now(UTC).date().isoformat()
    assert billed.json("usage", "--since", today, "--until", today)["total"]["requests"] == 4
    assert billed.json("usage", "--since", "2020-01-01", "--until", "2020-12-31")["data"] == []
    assert billed.json("usage", "--since", "2020-01-01", "--by", "hour")["total"]["requests"] == 4
    assert billed.json("usage", "--key", "key_unknown")["data"] == []


@pytest.mark.slow
def test_a_chart(billed: Program) -> None:
    """Bars are as long as what was spent; what is free has none."""
    lines = billed.fine("usage", "--by", "deployment", "--chart").splitlines()
    bars = {line.split()[0]: line.count("█") for line in lines}
    assert bars["echo"] > 10
    assert bars["free"] == 0
    assert lines[0].endswith("0.027")


@pytest.mark.slow
def test_wrong_options_are_told(billed: Program) -> None:
    """A time that is none, an empty range and two forms of output at once end with 2."""
    assert "--since" in billed.refused(2, "usage", "--since", "yesterday")
    assert "until" in billed.refused(2, "usage", "--since", "2026-02-01", "--until", "2026-01-01")
    assert "--csv" in billed.refused(2, "usage", "--csv", "--chart")


@pytest.mark.slow
def test_a_user_may_not_read_bills(billed: Program) -> None:
    """A key of role user is refused."""
    key = billed.fine("keys", "create", "reader").strip()
    billed.with_env(FREEHOLD_API_KEY=key).refused(4, "usage")
    billed.with_env(FREEHOLD_API_KEY=key).refused(4, "reconcile")


@pytest.mark.slow
def test_reconciling_a_running_server(billed: Program) -> None:
    """Journal, database, rollups and the engine's own counters agree; the command ends with 0."""
    found = billed.json("reconcile")
    assert found["gaps"] == []
    engines = {engine["deployment"]: engine for engine in found["engines"]}
    assert engines["echo"]["engine"]["prompt_tokens"] == engines["echo"]["receipts"]["prompt_tokens"] == 9
    assert engines["echo"]["exact"]
    assert billed.fine("reconcile").splitlines()[-1] == "no gap"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_gaps_and_their_mending(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Without a server as with one: a spoilt database is told with exit 1, and a rebuild mends it."""
    config = tmp_path / "freehold.toml"
    usage = ""
    program = Program(tmp_path / "home")
    if kind == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgres_server")
        program = program.with_env(USAGE_URL=server.new_database())
        usage = '\n[usage]\ndatabase = { env = "USAGE_URL" }\n'
    config.write_text(CONFIG + usage)
    with program.serving("--config", str(config)) as running:
        use(program, running.url)
    options = ("--config", str(config))
    assert program.json("reconcile", *options)["gaps"] == []
    if kind == "sqlite":
        with closing(sqlite3.connect(program.home / "usage.db")) as connection:
            connection.execute("UPDATE usage_daily SET cost_micro = cost_micro + 1 WHERE deployment = 'echo'")
            connection.commit()
        assert "usage_daily has" in program.refused(1, "reconcile", *options)
        assert program.run("reconcile", *options).stdout.count("DIFFERS") == 1
    assert "rebuilt" in program.fine("usage", "rebuild", "--yes", *options)
    assert program.json("reconcile", *options)["gaps"] == []
    assert program.json("usage", *options)["total"]["cost_micro"] == 27_000


@pytest.mark.slow
def test_a_rebuild_is_not_begun_unasked(billed: Program) -> None:
    """Without a person to ask and without --yes, nothing is rebuilt."""
    assert "--yes" in billed.refused(2, "usage", "rebuild")


@pytest.mark.slow
def test_a_month_by_project(billed: Program) -> None:
    """Showback has a line for each project with what was served and what was trained, as a table, CSV or JSON."""
    lines = [line.split() for line in billed.fine("usage", "showback").splitlines()]
    assert lines[0][:5] == ["ORGANIZATION", "PROJECT", "REQUESTS", "PROMPT", "COMPLETION"]
    assert lines[-1] == ["total", "-", "4", "12", "12", "0", "0.027", "0", "0.000", "0.000", "0", "0", "0.027"]
    (row,) = csv.DictReader(io.StringIO(billed.fine("usage", "showback", "--csv")))
    assert (row["project_id"], row["requests"], row["serving"], row["total"]) == ("proj-default", "4", "0.027", "0.027")
    assert billed.json("usage", "showback", "--month", "2020-12")["data"] == []
    assert "must be a month such as 2026-01" in billed.run("usage", "showback", "--month", "December").stderr
    assert "choose one of" in billed.run("usage", "showback", "--csv", "--json").stderr
