"""Trainings as tests submit them to a server, over plain HTTP; what trains only counts, or really does."""

import stat
import sys
from pathlib import Path
from typing import Any

from tests.gateway.training_bench import recipe
from tests.service import Reply, Service, eventually

JOBS = "/v1/training/jobs"
ENDED = frozenset({"succeeded", "failed", "cancelled"})
_COUNTING = """#!/bin/sh
# As an interpreter that trains, and with which it only counts.
[ "$2" = "-c" ] && exit 0
shift 3
PYTHONPATH={root} exec {python} -m tests.training_program "$@"
"""


def counting_python(folder: Path) -> Path:
    """What stands in the place of an interpreter: whatever module it is told to run, it only counts."""
    path = folder / "counting-python"
    path.write_text(_COUNTING.format(root=Path(__file__).parents[1], python=sys.executable), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def submit(service: Service, folder: Path, key: str | None = None, *, name: str = "steady", **more: Any) -> Reply:
    """Submit a training of a few steps in a folder; its data are the folder above."""
    body = {"recipe": recipe(name, 20, 5), "data": str(folder.parent), "out": str(folder), "threads": 1, **more}
    return service.post(JOBS, body, key=key)


def look(service: Service, training_id: str, key: str | None = None) -> Any:
    """A training as it is now."""
    return service.get(f"{JOBS}/{training_id}", key=key or service.key).json()


def reached(service: Service, training_id: str, status: str) -> Any:
    """A training once it has that status."""
    what = f"{training_id} is {status}; log: {service.log()[-3000:]}"
    eventually(lambda: look(service, training_id)["status"] == status, what)
    return look(service, training_id)
