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
from tests.service import Service
from tests.tuning import PROGRAM, begin, configured, ended, messages

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


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Service]]:
    """A server that fine-tunes with the program that only counts."""
    folder = tmp_path_factory.mktemp("training")
    with Service(folder / "home", configured(folder / "bases"), program=PROGRAM) as service:
        yield Program(folder / "home"), service


def at_terminal(program: Program, *args: str, columns: int = 150) -> tuple[int, str]:
    """The exit status of a command whose output is a terminal, and what was written to that."""
    outer, inner = pty.openpty()
    environment = {**program.environment, "COLUMNS": str(columns), "TERM": "xterm"}
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


def test_a_training_is_told_in_full(training: tuple[Program, Service]) -> None:
    """Of a fine-tuning job one sees its model, how it trains, what was measured, and its own events in their order."""
    program, service = training
    job = ended(service, begin(service, suffix="told", seed=7)["id"])
    found = program.json("jobs", "show", job["id"])
    assert found["details"]["fine_tuned_model"] == job["fine_tuned_model"]
    assert found["metrics"]["step"] == 20
    rows = dict(row.split(maxsplit=1) for row in program.fine("jobs", "show", job["id"]).splitlines()[1:])
    assert (rows["method"], rows["seed"]) == ("supervised", "7")
    table = program.fine("jobs", "show", job["id"])
    for told in (job["fine_tuned_model"], job["training_file"], *job["result_files"], "n_epochs=2", "training loss"):
        assert told in table
    assert "trained tokens" in table
    assert str(job["trained_tokens"]) in table
    logged = [json.loads(row) for row in program.fine("jobs", "logs", "--json", job["id"]).splitlines()]
    assert [event["message"] for event in logged if "message" in event] == messages(service, job["id"])
    assert {"queued", "started", "succeeded"} <= {event.get("event") for event in logged}
    assert "Step 20/20: training loss=0.05" in program.fine("jobs", "logs", "--follow", job["id"])


def test_what_comes_of_a_training_is_watched(training: tuple[Program, Service]) -> None:
    """The end of watching names the model, or says why there is none; at 80 columns no name is cut."""
    program, service = training
    job = ended(service, begin(service, suffix="seen")["id"])
    last = program.fine("jobs", "watch", job["id"]).splitlines()[-1]
    assert job["fine_tuned_model"] in last
    assert "training loss 0.05" in last
    status, shown = at_terminal(program, "jobs", "watch", job["id"], columns=80)
    assert status == 0
    assert job["fine_tuned_model"] in shown
    assert any(job["id"] in row and "20/20" in row for row in shown.splitlines())
    bad = ended(service, begin(service, data=b"{}\n", suffix="worse")["id"])
    watched = program.run("jobs", "watch", bad["id"])
    assert watched.returncode == 1
    assert "line 1" in watched.stdout.splitlines()[-1]
    assert "line 1" in program.fine("jobs", "show", bad["id"])
