"""What starting the program costs."""

import subprocess
import sys

import pytest

from tests.architecture.allowances import HEAVY


@pytest.mark.parametrize("entrance", ["freehold.app", "freehold.server", "freehold.cli.main"])
def test_the_program_starts_without_heavy_packages(entrance: str) -> None:
    """Importing the gateway or the command line loads none of the packages that only an engine or a converter needs."""
    code = f"import {entrance}, sys; print(*sorted({{name.split('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_the_gateway_starts_without_what_administers_it() -> None:
    """Importing the server or a worker loads neither FastAPI nor a route of the administration APIs."""
    code = (
        "import freehold.server, freehold.worker, sys; "
        "print(*{'fastapi', 'freehold.api.admin.application', 'freehold.api.admin.door'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
