"""`freehold apply`, without a running server."""

from pathlib import Path

import pytest

from tests.cli.program import Program

pytestmark = pytest.mark.slow

_TWO = """
[[deployment]]
name = "first"
engine = "echo"
model = "echo"
aliases = ["gpt-4o"]
fallbacks = ["second"]

[[deployment]]
name = "second"
engine = "echo"
model = "echo"
price = { input = "0.15", output = "0.6" }
"""
_MOVED = """
[[deployment]]
name = "second"
engine = "echo"
model = "echo"
aliases = ["gpt-4o"]

[[deployment]]
name = "first"
engine = "echo"
model = "echo"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "deployments.toml"
    path.write_text(_TWO)
    return path


@pytest.fixture
def furnished(program: Program) -> Program:
    """A home with two deployments that the file does not name."""
    for name in ("chat", "embed"):
        program.fine("deployments", "create", name, "--engine", "echo", "--model", "echo")
    return program


def _changes(program: Program, *args: str) -> dict[str, str]:
    return {step["name"]: step["change"] for step in program.json("apply", *args)["data"]}


def test_applying_twice_changes_nothing_the_second_time(program: Program, file: Path) -> None:
    """The first time creates, in whatever order fallbacks demand; the second leaves all as it is."""
    assert _changes(program, str(file)) == {"first": "created", "second": "created"}
    assert _changes(program, str(file)) == {"first": "unchanged", "second": "unchanged"}


def test_an_alias_can_move_from_one_deployment_to_another(program: Program, file: Path) -> None:
    """An alias is taken after it was given up, whichever stands first in the file."""
    program.fine("apply", str(file))
    file.write_text(_MOVED)
    assert _changes(program, str(file)) == {"first": "changed", "second": "changed"}
    assert program.json("deployments", "show", "second")["settings"]["aliases"] == ["gpt-4o"]


def test_a_dry_run_tells_and_does_nothing(furnished: Program, file: Path) -> None:
    """--dry-run prints the same changes and leaves everything as it was."""
    program = furnished
    assert _changes(program, str(file), "--dry-run", "--prune")["chat"] == "deleted"
    assert {found["name"] for found in program.json("deployments")["data"]} == {"chat", "embed"}


def test_prune_leaves_only_what_the_file_names(furnished: Program, file: Path) -> None:
    """--prune deletes the deployments that the file does not name; without it they stay."""
    program = furnished
    assert "deleted" not in _changes(program, str(file)).values()
    assert _changes(program, str(file), "--prune") == {
        "first": "unchanged",
        "second": "unchanged",
        "chat": "deleted",
        "embed": "deleted",
    }
    assert {found["name"] for found in program.json("deployments")["data"]} == {"first", "second"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ('engin = "echo"', "deployment[2].engin"),
        ("parallel = 0", "deployment[2].parallel"),
        ('engine = "echo"\noptions = { turbo = 1 }', "deployment[2].options.turbo"),
        ('aliases = ["gpt-4o"]', "gpt-4o"),
    ],
)
def test_a_wrong_file_is_refused_as_a_whole(program: Program, file: Path, wrong: str, named: str) -> None:
    """A mistake in the last block ends with 2 and its path, and none of the blocks is applied."""
    file.write_text(f'{_TWO}\n[[deployment]]\nname = "third"\nmodel = "echo"\n{wrong}\n')
    assert named in program.refused(2, "apply", str(file))
    assert "first" not in {found["name"] for found in program.json("deployments")["data"]}


def test_a_file_that_is_not_there_is_wrong_input(program: Program, tmp_path: Path) -> None:
    """A missing file ends with 2 and is named."""
    assert "nothing.toml" in program.refused(2, "apply", str(tmp_path / "nothing.toml"))
