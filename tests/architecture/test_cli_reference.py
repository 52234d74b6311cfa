"""The reference of commands is what the program says."""

import difflib

from tests.architecture.tree import ROOT
from tools.cli_reference import PAGE, reference


def test_the_command_reference_is_current() -> None:
    """docs/reference/cli.md is what `python -m tools.cli_reference` writes now."""
    committed = PAGE.read_text(encoding="utf-8").splitlines()
    assert list(difflib.unified_diff(committed, reference().splitlines(), lineterm="", n=0)) == []


def test_the_command_reference_names_no_folder_of_this_machine() -> None:
    """A default that is a path under the home folder is not written out."""
    assert str(PAGE.home()) not in reference()
    assert str(ROOT) not in reference()
