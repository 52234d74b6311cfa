"""Which engine that runs can take the place of one that would be started."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.cluster.base import Placement
from freehold.cluster.likeness import PACKAGE, digest_of
from freehold.types.cluster import Resources

NEEDS = Resources(cores=1.0, memory_bytes=1000, devices=1, device_kind="H100")


def _placement(home: Path, workload: str = "chat-1", weights: str = "ab" * 32) -> Placement:
    """An engine as a gateway with that home would have it started."""
    model, socket = home / "models" / "blobs" / weights, home / "run" / f"{workload}.sock"
    spec = json.dumps({"socket": str(socket), "model": str(model), "code": str(PACKAGE / "x.py"), "parallel": 4})
    argv = (sys.executable, "-m", "engine", "--spec", spec)
    files = {model: weights}
    return Placement(workload, argv, {"A": "1", "B": "2"}, NEEDS, None, files, socket, deployment="chat")


def test_another_run_and_another_home_come_to_the_same() -> None:
    """The replica's id, its socket, its node, the paths of a machine and the order of env make no difference."""
    here = _placement(Path("/one"))
    there = replace(_placement(Path("/two"), "chat-7"), env={"B": "2", "A": "1"}, nodes=("a node",))
    assert digest_of(here) == digest_of(there)


@pytest.mark.parametrize(
    "change",
    [
        {"deployment": "other"},
        {"env": {"A": "1"}},
        {"env": {"A": "1", "B": "3"}},
        {"needs": replace(NEEDS, devices=2)},
        {"needs": replace(NEEDS, device_kind=None)},
        {"argv": (sys.executable, "-m", "engine")},
    ],
)
def test_what_an_engine_is_makes_a_difference(change: dict[str, object]) -> None:
    """Another deployment, program, environment or room is another engine."""
    here = _placement(Path("/one"))
    assert digest_of(replace(here, **change)) != digest_of(here)  # type: ignore[arg-type]


def test_other_weights_and_another_version_make_a_difference() -> None:
    """A model of another digest under an equal path is another engine, and so is one of another Freehold."""
    here = _placement(Path("/one"))
    (path,) = here.files
    assert digest_of(replace(here, files={path: "cd" * 32})) != digest_of(here)
    assert digest_of(here, "0.0.1") != digest_of(here, "0.0.2")
