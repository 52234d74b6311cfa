"""One process of a training that was submitted as a job."""

import json
from pathlib import Path

import pytest

from freehold.errors import ConfigError
from freehold.training.language.member import placed, work
from freehold.training.language.task import Task
from tests.training.language.texts import prepared, small_recipe

pytestmark = pytest.mark.torch

GANG = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}


def task(folder: Path, **changes: object) -> Task:
    """A training of a few steps."""
    return Task(recipe=small_recipe(**changes), data=str(folder / "data"), out=str(folder / "run"), device="cpu")


def test_where_it_is_in_its_gang(tmp_path: Path) -> None:
    """The environment says which process of how many it is, and where the others are."""
    alone = task(tmp_path)
    assert placed(alone, {}) == alone
    found = placed(alone, GANG)
    assert (found.rank, found.local_rank, found.world, found.rendezvous) == (3, 1, 4, "tcp://10.0.0.1:29500")
    assert placed(alone, {**GANG, "MASTER_ADDR": "fd00::1"}).rendezvous == "tcp://[fd00::1]:29500"
    with pytest.raises(ConfigError, match="does not say MASTER_PORT"):
        placed(alone, {name: value for name, value in GANG.items() if name != "MASTER_PORT"})


def test_it_says_how_it_goes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It keeps its folder, says from which step it goes on and how it ended, and refuses another training's folder."""
    (tmp_path / "data").mkdir()
    prepared(tmp_path / "data")
    asked = iter([False] * 3)
    work(task(tmp_path), lambda: next(asked, True))
    work(task(tmp_path), lambda: False)
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(each["type"], each["step"]) for each in said] == [
        ("started", 0),
        ("ended", 4),
        ("started", 4),
        ("ended", 12),
    ]
    assert (said[1]["finished"], said[3]["finished"]) == (False, True)
    assert (tmp_path / "run" / "run.json").exists()
    with pytest.raises(ConfigError, match=r"another training: training.steps is 12 there and 13 here"):
        work(task(tmp_path, steps=13), lambda: False)
