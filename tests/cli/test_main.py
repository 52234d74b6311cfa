"""What holds for every command: help, usage errors, exit codes."""

import json
import subprocess
import time

import pytest

from freehold.cli.main import COMMANDS
from tests.cli.program import ARGV, Program


def test_help_lists_every_command_and_every_exit_code(program: Program) -> None:
    """`freehold --help` names all commands, what the exit codes mean and which variables there are."""
    text = program.fine("--help")
    for word in [*(command.name for command in COMMANDS), "Exit codes:", "130", "FREEHOLD_HOME", "FREEHOLD_URL"]:
        assert word in text


def test_help_loads_nothing_of_the_service(program: Program) -> None:
    """Printing help imports neither the application nor its web framework, so that it comes at once."""
    code = (
        "import sys; from freehold.cli.main import run; run(['--help']); "
        "print({'fastapi', 'aiohttp', 'pydantic', 'freehold.app', 'freehold.config'} & set(sys.modules))"
    )
    done = subprocess.run(
        [ARGV[0], "-c", code], env=program.environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_help_comes_quickly(program: Program) -> None:
    """`freehold --help` takes well under a second even on a busy machine."""
    times_s = []
    for _ in range(3):
        begun = time.monotonic()
        program.fine("--help")
        times_s.append(time.monotonic() - begun)
    assert min(times_s) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_has_help_with_an_example(program: Program, name: str) -> None:
    """A command's help shows how it is called."""
    text = program.fine(name, "--help")
    assert "Example" in text
    assert f"freehold {name}" in text


def test_version_is_printed_by_option_and_by_command(program: Program) -> None:
    """`--version` and `version` agree."""
    assert program.fine("--version") == program.fine("version")


def test_an_unknown_command_is_wrong_usage_and_the_likely_one_is_named(program: Program) -> None:
    """A mistyped command ends with 2 and the name that was probably meant."""
    assert "'keys'" in program.refused(2, "keyz")


def test_an_unknown_option_is_wrong_usage(program: Program) -> None:
    """An unknown option ends with 2 and says where the help is."""
    assert "freehold version --help" in program.refused(2, "version", "--colour")


def test_errors_are_json_where_json_is_asked_for(program: Program) -> None:
    """With --json an error is the API's error object on stderr, and stdout stays empty."""
    done = program.run("chat", "hello", "--json")
    assert done.returncode == 3
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"]["code"] == "service_unreachable"


def test_without_a_server_calls_say_how_to_start_one(program: Program) -> None:
    """A call of a deployment without a running server ends with 3 and names `freehold serve`."""
    assert "freehold serve" in program.refused(3, "chat", "hello")


def test_an_address_where_nobody_listens_is_unreachable(program: Program) -> None:
    """FREEHOLD_URL pointing at nothing ends with 3."""
    away = program.with_env(FREEHOLD_URL="http://127.0.0.1:9", FREEHOLD_API_KEY="fh-x")
    assert "http://127.0.0.1:9" in away.refused(3, "keys", "list")


def test_an_address_without_a_key_is_refused(program: Program) -> None:
    """FREEHOLD_URL without FREEHOLD_API_KEY ends with 4: this home's key is not sent to another server."""
    assert "FREEHOLD_API_KEY" in program.with_env(FREEHOLD_URL="http://127.0.0.1:9").refused(4, "keys", "list")


def test_a_reader_that_leaves_early_is_no_error(program: Program) -> None:
    """A closed pipe leaves nothing on stderr."""
    process = subprocess.Popen(
        [*ARGV, "--help"], env=program.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert errors == ""
