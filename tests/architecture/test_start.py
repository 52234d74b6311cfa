"""What starting the program costs."""

import subprocess
import sys

import pytest

from tests.architecture.allowances import HEAVY
from tests.architecture.tree import SOURCE

ENTRANCES = ("freehold.app", "freehold.server", "freehold.cli.main")


@pytest.mark.parametrize(
    "entrance", [name for name in ENTRANCES if (SOURCE / f"{name[9:].replace('.', '/')}.py").exists()]
)
def test_the_gateway_imports_no_heavy_package(entrance: str) -> None:
    """Importing the gateway or the command line loads none of the packages that only an engine or a converter needs."""
    code = f"import {entrance}, sys; print(*sorted({{name.split('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == []
