"""`freehold doctor`."""

from pathlib import Path

import pytest

from tests.cli.program import ECHO_CONFIG, Program, Server

pytestmark = pytest.mark.slow


def _verdicts(program: Program, *args: str) -> dict[str, str]:
    return {finding["check"]: finding["verdict"] for finding in program.json("doctor", *args)["data"]}


def test_it_changes_nothing(program: Program, tmp_path: Path) -> None:
    """On a home that is not there yet the report is good, and the home is still not there."""
    config = tmp_path / "freehold.toml"
    config.write_text(ECHO_CONFIG)
    verdicts = _verdicts(program, "--config", str(config))
    assert verdicts["home"] == "ok"
    assert verdicts["engine echo"] == "ok"
    assert verdicts["engine diffusers"] == "ok"
    assert verdicts["engine openvino_images"] == "ok"
    assert "fail" not in verdicts.values()
    assert not program.home.exists()


def test_a_key_file_that_others_can_read_is_a_failure_with_its_cure(program: Program) -> None:
    """A readable admin.key ends with 1 and the command that mends it."""
    program.fine("keys", "list")
    (program.home / "admin.key").chmod(0o644)
    done = program.run("doctor")
    assert done.returncode == 1
    assert f"chmod 600 {program.home / 'admin.key'}" in done.stdout


def test_a_damaged_database_is_a_failure(program: Program) -> None:
    """A database that SQLite cannot read is told, without a traceback."""
    program.home.mkdir(mode=0o700)
    (program.home / "freehold.db").write_bytes(b"not a database" * 100)
    done = program.run("doctor", "--json")
    assert done.returncode == 1
    assert "restore" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_running_server_and_its_deployments_are_looked_at(echo_server: tuple[Program, Server]) -> None:
    """The report names the server and each of its deployments."""
    verdicts = _verdicts(echo_server[0])
    assert verdicts["server"] == "ok"
    assert verdicts["deployment echo"] == "ok"
