"""`freehold serve`, and the commands that need it."""

import json
import math
import os
import pty
import stat
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.cli.program import ARGV, ECHO_CONFIG, Program, Server

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "freehold.toml"
    path.write_text(ECHO_CONFIG)
    return path


def test_the_administrators_key_is_shown_at_the_first_start_only(program: Program, config: Path) -> None:
    """The first start prints the key and keeps it in admin.key, mode 0600; later starts print none."""
    with program.serving("--config", str(config), typed=True) as server:
        path = program.home / "admin.key"
        key = path.read_text().strip()
        assert key.startswith("fh-")
        assert key in server.announced
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert server.interrupt() == 0
    with program.serving("--config", str(config), typed=True) as server:
        assert "fh-" not in server.announced
        assert path.read_text().strip() == key


def test_an_interrupted_server_ends_cleanly(program: Program, config: Path) -> None:
    """Ctrl-C ends the server with 0, leaves no traceback and takes back where it was."""
    with program.serving("--config", str(config), typed=True) as server:
        assert (program.home / "run" / "server.json").exists()
        assert server.interrupt() == 0
        assert "Traceback" not in server.log.read_text()
    assert not (program.home / "run" / "server.json").exists()
    assert "freehold serve" in program.refused(3, "chat", "hello")


def test_the_log_is_one_json_object_a_line_and_holds_no_key(echo_server: tuple[Program, Server]) -> None:
    """Every line on stderr is JSON, and neither key nor prompt is in it."""
    program, server = echo_server
    program.fine("chat", "a prompt that nobody logs")
    text = server.log.read_text()
    for line in text.splitlines():
        assert "event" in json.loads(line)
    assert "nobody logs" not in text
    assert (program.home / "admin.key").read_text().strip() not in text


def test_options_override_the_file(program: Program, config: Path) -> None:
    """--port goes before the file's port."""
    config.write_text(ECHO_CONFIG.replace("port = 0", "port = 1"))
    with (
        program.serving("--config", str(config), "--port", "0") as server,
        urllib.request.urlopen(f"{server.url}/health/live", timeout=10) as answer,
    ):
        assert answer.status == 200


def test_a_wrong_key_in_the_file_is_named_with_its_path(program: Program, config: Path) -> None:
    """A mistake in the file ends with 2 before anything is opened."""
    config.write_text(f"{ECHO_CONFIG}\npararell = 2\n")
    assert "deployment[1].pararell" in program.refused(2, "serve", "--config", str(config))
    assert not program.home.exists()


def test_a_second_server_on_a_home_is_refused(echo_server: tuple[Program, Server]) -> None:
    """A home has one server; the second says so."""
    program, _ = echo_server
    assert "another Freehold process" in program.refused(1, "serve", "--port", "0")


def test_a_port_in_use_is_refused(program: Program, config: Path, echo_server: tuple[Program, Server]) -> None:
    """A port that somebody else has ends with 1 and the way out."""
    port = echo_server[1].url.rpartition(":")[2]
    assert "--port" in program.refused(1, "serve", "--config", str(config), "--port", port)


def test_chat_prints_the_answer(echo_server: tuple[Program, Server]) -> None:
    """`freehold chat` prints what the deployment says, from an argument and from a pipe."""
    program, _ = echo_server
    assert "seven rivers" in program.fine("chat", "seven rivers", "--max-tokens", "50")
    assert "eight lakes" in program.fine("chat", "-m", "echo", "-", stdin="eight lakes\n")


def test_chat_as_json_is_the_apis_answer(echo_server: tuple[Program, Server]) -> None:
    """--json prints the whole object, usage included."""
    program, _ = echo_server
    answer = program.json("chat", "hello", "--temperature", "0", "--seed", "7")
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["completion_tokens"] > 0


def test_complete_continues_a_text(echo_server: tuple[Program, Server]) -> None:
    """`freehold complete` prints the continuation."""
    program, _ = echo_server
    assert program.fine("complete", "once upon a time", "--max-tokens", "50").strip()
    assert program.json("complete", "once upon a time")["object"] == "text_completion"


def test_embed_gives_vectors(echo_server: tuple[Program, Server]) -> None:
    """`freehold embed` summarizes; with --json it prints one unit vector a text."""
    program, _ = echo_server
    assert "a river" in program.fine("embed", "a river", "a stream")
    vectors = [item["embedding"] for item in program.json("embed", "a river", "a stream")["data"]]
    assert len(vectors) == 2
    assert math.isclose(math.hypot(*vectors[0]), 1.0, rel_tol=1e-3)


def test_an_unknown_model_is_wrong_input(echo_server: tuple[Program, Server]) -> None:
    """Calling what does not exist ends with 2."""
    assert "ghost" in echo_server[0].refused(2, "chat", "hello", "--model", "ghost")


def test_a_wrong_key_is_refused(echo_server: tuple[Program, Server]) -> None:
    """Calling with a key that is not valid ends with 4."""
    program, server = echo_server
    program.with_env(FREEHOLD_API_KEY="fh-wrong").refused(4, "chat", "hello")
    away = Program(program.home / "nowhere", {"FREEHOLD_URL": server.url, "FREEHOLD_API_KEY": "fh-wrong"})
    away.refused(4, "deployments", "list")


def test_another_machine_is_administered_by_address_and_key(echo_server: tuple[Program, Server]) -> None:
    """FREEHOLD_URL and FREEHOLD_API_KEY reach a server from a home that is not its own; `/v1` may stand at the end."""
    program, server = echo_server
    key = (program.home / "admin.key").read_text().strip()
    away = Program(program.home / "nowhere", {"FREEHOLD_URL": f"{server.url}/v1", "FREEHOLD_API_KEY": key})
    assert "echo" in away.fine("deployments", "list")
    assert not away.home.exists()


def test_a_running_server_takes_changes_at_once(echo_server: tuple[Program, Server]) -> None:
    """A deployment made from the command line answers; scaled and deleted, it is gone."""
    program, _ = echo_server
    program.fine("deployments", "create", "more", "--engine", "echo", "--model", "echo")
    assert "hello" in program.fine("chat", "hello", "--model", "more", "--max-tokens", "50")
    program.fine("deployments", "scale", "more", "2")
    assert program.json("deployments", "show", "more")["settings"]["replicas"] == 2
    program.fine("deployments", "delete", "more", "--yes")
    program.refused(2, "chat", "hello", "--model", "more")


def test_deployments_of_the_file_cannot_be_changed_by_command(echo_server: tuple[Program, Server]) -> None:
    """What the server's file defines is changed there: deleting it ends with 2, and pruning passes it by."""
    program, _ = echo_server
    assert "configuration file" in program.refused(2, "deployments", "delete", "echo", "--yes")


def test_a_revoked_key_is_refused(echo_server: tuple[Program, Server]) -> None:
    """A key works until it is revoked on the running server."""
    program, _ = echo_server
    key = program.fine("keys", "create", "brief").strip()
    caller = program.with_env(FREEHOLD_API_KEY=key)
    caller.fine("chat", "hello")
    program.fine("keys", "revoke", "brief")
    caller.refused(4, "chat", "hello")


def test_a_conversation_keeps_its_history_until_it_is_left(echo_server: tuple[Program, Server]) -> None:
    """At a terminal `freehold chat` takes turns and ends with /exit."""
    program, _ = echo_server
    inner, outer = pty.openpty()
    process = subprocess.Popen([*ARGV, "chat"], env=program.environment, stdin=outer, stdout=outer, stderr=outer)
    os.close(outer)
    try:
        shown = _until(inner, "> ")
        assert "/exit" in shown
        os.write(inner, b"nine hills\n")
        assert "nine hills" in _until(inner, "\n> ").partition("nine hills")[2]
        os.write(inner, b"/exit\n")
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(inner)


def _until(terminal: int, end: str) -> str:
    """What the terminal shows, until it ends with `end`."""
    shown = ""
    deadline = time.monotonic() + 60
    while not shown.replace("\r", "").endswith(end):
        assert time.monotonic() < deadline, shown
        shown += os.read(terminal, 4096).decode()
    return shown.replace("\r", "")
