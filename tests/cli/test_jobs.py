"""`freehold jobs`, without a running server and with one."""

import json
import os
import pty
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.api.uploads import BOUNDARY, form
from tests.batching import CHAT, jsonl, line
from tests.cli.program import ARGV, ECHO_CONFIG, Program, Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server whose engine takes its time."""
    folder = tmp_path_factory.mktemp("slow")
    config = folder / "freehold.toml"
    slow = 'model = "echo"\naliases = ["chat"]\nparallel = 2\noptions = { delay_s = 0.05 }'
    config.write_text(ECHO_CONFIG.replace('model = "echo"\naliases = ["chat"]', slow))
    program = Program(folder / "home")
    with program.serving("--config", str(config)):
        yield program


def at_terminal(program: Program, *args: str) -> tuple[int, str]:
    """The exit status of a command whose output is a terminal, and what was written to that."""
    outer, inner = pty.openpty()
    environment = {**program.environment, "COLUMNS": "150", "TERM": "xterm"}
    with subprocess.Popen([*ARGV, *args], stdout=inner, stdin=inner, stderr=inner, env=environment) as process:
        os.close(inner)
        shown = b""
        with suppress(OSError):  # the other end is closed
            while piece := os.read(outer, 65536):
                shown += piece
        os.close(outer)
    return process.returncode, shown.decode()


def test_what_is_not_there_is_named(program: Program) -> None:
    """There are none at first, and what is not there is named."""
    assert program.json("jobs", "list")["data"] == []
    assert "batch_0" in program.refused(2, "jobs", "show", "batch_0")
    assert "batch_0" in program.refused(2, "jobs", "cancel", "batch_0")


def sent(program: Program, data: bytes) -> str:
    """Send a batch to the server that runs on the program's home; its id."""
    url = json.loads((program.home / "run" / "server.json").read_text())["url"]
    key = (program.home / "admin.key").read_text().strip()

    def post(path: str, body: bytes, content_type: str) -> str:
        headers = {"authorization": f"Bearer {key}", "content-type": content_type}
        with urllib.request.urlopen(urllib.request.Request(url + path, body, headers)) as answer:
            return str(json.load(answer)["id"])

    file = form(data, "in.jsonl", purpose="batch")
    file_id = post("/v1/files", file, f"multipart/form-data; boundary={BOUNDARY}")
    asked = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    return post("/v1/batches", json.dumps(asked).encode(), "application/json")


def test_what_is_wrong_with_an_input_is_shown(echo_server: tuple[Program, Server]) -> None:
    """The errors of a batch stand in the table with their lines; what has ended cannot be cancelled."""
    program, _ = echo_server
    batch_id = sent(program, jsonl([line("a"), line("a")]))
    watched = program.run("jobs", "watch", batch_id)
    assert watched.returncode == 1, "a script learns that it failed"
    assert watched.stdout.splitlines()[-1].split() == [batch_id, "failed"]
    assert program.json("jobs", "show", batch_id)["details"]["status"] == "failed"
    assert "duplicate_custom_id" in program.fine("jobs", "show", batch_id)
    assert batch_id in program.fine("jobs", "list", "--kind", "batch")
    assert batch_id not in program.fine("jobs", "list", "--active")
    assert "failed" in program.refused(2, "jobs", "cancel", batch_id)
    assert "failed" in program.refused(2, "jobs", "pause", batch_id)


def test_a_batch_is_paused_and_watched_to_its_end(slow_server: Program) -> None:
    """A paused batch stays where it is, what is watched goes on once it is resumed, and the log tells of it."""
    program = slow_server
    batch_id = sent(program, jsonl(line(f"r{n}") for n in range(30)))
    while not program.json("jobs", "show", batch_id)["done"]:
        pass
    assert program.json("jobs", "pause", batch_id)["subject"] == batch_id
    while (found := program.json("jobs", "show", batch_id))["state"] != "paused":
        pass
    assert found["details"]["status"] == "in_progress", "OpenAI's API has no such state"
    assert found["done"] < 30
    assert "paused" in program.fine("jobs", "list", "--active")
    assert program.json("jobs", "show", batch_id)["done"] == found["done"]
    command = [*ARGV, "jobs", "watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=program.environment, text=True) as watching:
        assert watching.stdout is not None
        assert "paused" in watching.stdout.readline()
        assert program.json("jobs", "resume", found["id"])["state"] == "queued"
        lines = watching.stdout.read().splitlines()
    assert watching.returncode == 0
    assert lines[-1].split() == [batch_id, "succeeded", "30", "of", "30"]
    events = [json.loads(row)["event"] for row in program.fine("jobs", "logs", "--json", batch_id).splitlines()]
    assert events == ["queued", "started", "pausing", "paused", "resumed", "started", "succeeded"]
    followed = program.fine("jobs", "logs", "--follow", batch_id).splitlines()
    assert [row.split()[2] for row in followed] == events
    assert "not paused" in program.refused(2, "jobs", "resume", batch_id)
    assert program.run("jobs", "watch").stderr.strip() == "no job is under way"


def test_bars_are_drawn_at_a_terminal(slow_server: Program) -> None:
    """At a terminal each watched job has a bar that goes forward, and the failed lines are counted."""
    program = slow_server
    names = [sent(program, jsonl(line(f"r{n}", temperature=9 if n % 2 else 1) for n in range(12))) for _ in range(2)]
    status, shown = at_terminal(program, "jobs", "watch", *names)
    assert status == 0
    last = [row for row in shown.splitlines() if "12/12" in row][-2:]
    assert [name for row, name in zip(last, names, strict=True) if name in row and "succeeded" in row] == names
    assert all("6 failed" in row for row in last)
    assert "\u2501" in shown, "a bar is drawn"
