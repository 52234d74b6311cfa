"""What may import what."""

import subprocess
import sys

import pytest

from tests.architecture.tree import ROOT, SOURCE, imports, modules


@pytest.mark.slow
def test_layers_import_only_layers_below() -> None:
    """The import contract of .importlinter is kept."""
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c()",
            "--no-logo",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_parts_import_each_other() -> None:
    """No two top-level parts of freehold import each other, in either direction at once."""
    edges = {
        (module.part, target.split(".")[1])
        for module in modules(SOURCE)
        for target, _ in imports(module.tree)
        if target.startswith("freehold.") and target.split(".")[1] != module.part
    }
    both_ways = sorted((a, b) for a, b in edges if a < b and (b, a) in edges)
    assert not both_ways


def test_imports_are_absolute() -> None:
    """An import names its module in full, so that a reader finds it by searching."""
    relative = [
        module.at(node) for module in modules(SOURCE) for name, node in imports(module.tree) if name.startswith(".")
    ]
    assert not relative


def test_first_party_imports_stand_at_the_top() -> None:
    """No function imports a part of freehold."""
    inside = [
        f"{module.at(node)} imports {target}"
        for module in modules(SOURCE)
        for _, function in module.functions()
        for target, node in imports(function)
        if target == "freehold" or target.startswith("freehold.")
    ]
    assert not inside
