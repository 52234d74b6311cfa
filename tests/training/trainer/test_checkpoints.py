"""Checkpoints hold the whole state, are there whole or not at all, and fit any number of processes."""

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from freehold.errors import ConfigError
from freehold.training.trainer.checkpoints import Checkpoints
from freehold.training.trainer.identity import difference
from freehold.training.trainer.recipe import CheckpointRecipe
from tests.disk import fill, small_disk
from tests.training.trainer.checkpoint_program import IDENTITY, Small, digest, optimizers_of, small_files, train

pytestmark = pytest.mark.torch


@dataclass(frozen=True)
class Alone:
    """A training of one process."""

    rank: int = 0
    world: int = 1


def store(folder: Path, identity: Any = None, **recipe: Any) -> Checkpoints:
    return Checkpoints(folder, identity or IDENTITY, CheckpointRecipe(**recipe), Alone())


def begun() -> tuple[Small, Any]:
    """A model that was trained for a few steps, and its optimizers."""
    torch.manual_seed(3)
    model = Small()
    optimizers = optimizers_of(model)
    train(model, optimizers, 3)
    return model, optimizers


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Weights, buffers, what both optimizers remember and the random state come back, and the extras with them."""
    model, optimizers = begun()
    average = model.inner.weight.detach() * 2
    checkpoints = store(tmp_path)
    checkpoints.save(3, model, optimizers, {"taken": 4, "spikes": {"losses": [0.1, 2.5]}, "average.inner": average})
    saved, loss = digest(model, optimizers, 0), train(model, optimizers, 4)
    trained = digest(model, optimizers, 0)

    torch.manual_seed(9)
    other = Small()
    others = optimizers_of(other)
    place = torch.zeros(6, 6)
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 3
    assert checkpoints.load(found, other, others, {"average.inner": place}) == {
        "taken": 4,
        "spikes": {"losses": [0.1, 2.5]},
    }
    assert digest(other, others, 0) == saved
    assert torch.equal(place, average)
    assert train(other, others, 4) == loss
    assert digest(other, others, 0) == trained
    assert checkpoints.failure() is None


def test_what_is_written_is_the_state_at_that_moment(tmp_path: Path) -> None:
    """The training goes on while the checkpoint is written, and changes nothing of it; a second one waits."""
    model, optimizers = begun()
    checkpoints = store(tmp_path, keep=3)
    digests = {}
    for step in (1, 2, 3):
        checkpoints.save(step, model, optimizers, {})
        digests[step] = digest(model, optimizers, 0)
        train(model, optimizers, 1)
    for step in (3, 2, 1):
        found = checkpoints.newest()
        assert found is not None
        assert found.step == step
        checkpoints.load(found, model, optimizers)
        assert digest(model, optimizers, 0) == digests[step]
        shutil.rmtree(found.folder)
    checkpoints.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("checkpoint")]


def test_the_files_are_safetensors_and_json(tmp_path: Path) -> None:
    """Anybody can read a checkpoint; no file of it is a pickle, and a weight that is used twice is there once."""
    model, optimizers = begun()
    checkpoints = store(tmp_path, asynchronous=False)
    checkpoints.save(3, model, optimizers, {"taken": 4})
    folder = tmp_path / "step-3"
    assert names(folder) == {"manifest.json", "part-0.safetensors"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["step"], manifest["processes"], manifest["extra"]) == (3, 1, {"taken": 4})
    with safe_open(str(folder / "part-0.safetensors"), "pt") as file:
        held = set(file.keys())
        assert torch.equal(file.get_tensor("weights/embedding.weight"), model.embedding.weight)
    assert "weights/head.weight" not in held
    assert {"weights/shift", "optimizer/inner.weight/momentum_buffer", "optimizer/scale/exp_avg_sq"} < held
    assert "random/cpu/0" in held


@pytest.mark.parametrize("damage", ["part-0.safetensors", "manifest.json", "pickle", "bytes", "manifest"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    """One that lacks a file, has a strange one, or is not as it was written: the one before is gone on with."""
    model, optimizers = begun()
    checkpoints = store(tmp_path, asynchronous=False)
    for step in (1, 2):
        checkpoints.save(step, model, optimizers, {})
    folder = tmp_path / "step-2"
    if damage == "pickle":
        (folder / "optimizer.pt").write_bytes(b"\x80\x04")
    elif damage == "bytes":
        with (folder / "part-0.safetensors").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
    elif damage == "manifest":
        (folder / "manifest.json").write_text("{}")
    else:
        (folder / damage).unlink()
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 1
    assert len(checkpoints.passed_over) == 1
    assert checkpoints.passed_over[0].startswith("step-2: ")


def test_a_checkpoint_of_another_training_is_told_by_what_differs(tmp_path: Path) -> None:
    """Whoever changed the recipe, or the data, reads which value it was."""
    model, optimizers = begun()
    store(tmp_path, asynchronous=False).save(1, model, optimizers, {})
    other = store(tmp_path, {"recipe": {"seed": 1, "model": {"width": 8}}})
    assert other.newest() is None
    assert other.passed_over == ["step-1: it is of another training: recipe.model.width is 6 there and 8 here"]


def test_differences_are_named_by_their_path() -> None:
    """The first of them, in this training's order; equal ones have none."""
    assert difference({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 2]}) is None
    assert difference({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}) == "a.c is only there"
    assert difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}) == "a.c is only here"
    assert difference({"a": [1]}, {"a": [2]}) == "a is [2] there and [1] here"
    assert difference({"a": 1, "b": {"c": 2}}, {"a": 2, "b": {}}) == "a is 2 there and 1 here, b.c is only here"
    many = {str(key): key for key in range(10)}
    assert str(difference(many, {})).endswith("7 is only here, and 2 more")
    assert difference(1, {"a": 1}) == "it is {'a': 1} there and 1 here"


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    """Where the identity did not say so, names and sizes do."""
    model, optimizers = begun()
    checkpoints = store(tmp_path, asynchronous=False)
    checkpoints.save(1, model, optimizers, {})
    found = checkpoints.newest()
    assert found is not None
    with pytest.raises(ConfigError, match=r"the checkpoint has no weights/0\.weight"):
        checkpoints.load(found, torch.nn.Sequential(torch.nn.Linear(2, 2)), [])
    model.shift = torch.zeros(4)
    with pytest.raises(ConfigError, match=r"weights/shift is \(3,\) in the checkpoint and \(4,\) here"):
        checkpoints.load(found, model, optimizers)


def test_a_full_disk_loses_no_earlier_checkpoint(tmp_path: Path) -> None:
    """It is told once, the room is given back, and with room again the next one is written."""
    model, optimizers = begun()
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        folder = disk / "checkpoints"
        checkpoints = store(folder, asynchronous=True)
        checkpoints.save(1, model, optimizers, {})
        checkpoints.wait()
        ballast = fill(disk)
        checkpoints.save(2, model, optimizers, {})
        train(model, optimizers, 1)
        checkpoints.wait()
        told = checkpoints.failure()
        assert told is not None
        assert told.startswith("the checkpoint of step 2 could not be written: ")
        assert "No space left" in told
        assert checkpoints.failure() is None
        assert names(folder) == {"step-1"}
        found = checkpoints.newest()
        assert found is not None
        assert found.step == 1
        ballast.unlink()
        checkpoints.save(3, model, optimizers, {})
        checkpoints.wait()
        assert names(folder) == {"step-1", "step-3"}
        checkpoints.close()


def test_files_that_may_not_grow_are_told_as_a_full_disk_is(tmp_path: Path) -> None:
    """A quota or a limit is no reason to stop either."""
    model, optimizers = begun()
    checkpoints = store(tmp_path)
    with small_files():
        checkpoints.save(1, model, optimizers, {})
        checkpoints.wait()
    assert "could not be written" in str(checkpoints.failure())
    assert names(tmp_path) == set()


def run(folder: Path, world: int, name: str, parallel: dict[str, int], *actions: str) -> dict[str, Any]:
    """Run the program on so many processes."""
    argv = [sys.executable, "-m", "tests.training.trainer.checkpoint_program"]
    told = [str(folder), name, json.dumps(parallel), *actions]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([*argv, str(rank), str(world), *told], stderr=subprocess.PIPE, text=True, env=environment)
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * world, "\n".join(errors)
    return dict(json.loads((folder / f"{name}.json").read_text()))


def without_random(digests: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in digests.items() if not name.startswith("random/")}


def test_other_numbers_of_processes_go_on_with_a_checkpoint(tmp_path: Path) -> None:
    """Two processes' parts fill one, and one's state fills two, exactly, also where sizes divide by nothing."""
    two = run(tmp_path, 2, "two", {}, "train", "save", "train", "load", "fail", "load")
    assert names(tmp_path / "checkpoints" / "step-3") == {"manifest.json", "part-0.safetensors", "part-1.safetensors"}
    assert two["load"][0] == two["save"][0] != two["train"][1]
    assert "step 3 could not be written" in two["failure"], "on the first process, though the second one failed"
    assert two["load"][1] == two["load"][0], "and the checkpoint before is there"
    assert two["extra"] == {"taken": 3}

    one = run(tmp_path, 1, "one", {}, "load", "train", "save")
    assert without_random(one["load"][0]) == without_random(two["save"][0])
    again = run(tmp_path, 2, "again", {"replicas": 2}, "load")
    assert without_random(again["load"][0]) == without_random(one["save"][0])


@pytest.mark.long
def test_four_processes_in_two_directions_go_on_with_a_checkpoint(tmp_path: Path) -> None:
    """Hybrid sharding writes each part once, and any layout reads it."""
    four = run(tmp_path, 4, "four", {"replicas": 2, "shards": 2}, "train", "save")
    three = run(tmp_path, 3, "three", {}, "load", "save")
    one = run(tmp_path, 1, "one", {}, "load")
    assert without_random(three["load"][0]) == without_random(four["save"][0])
    assert without_random(one["load"][0]) == without_random(four["save"][0])


@pytest.mark.long
def test_matrices_that_are_split_twice_go_on_in_any_layout(tmp_path: Path) -> None:
    """Tensor parallel within FSDP2 cuts a matrix into parts in an order of its own; each finds its place."""
    four = run(tmp_path, 4, "gpt-four", {"shards": 2, "tensor": 2}, "train", "save")
    two = run(tmp_path, 2, "gpt-two", {"tensor": 2}, "load", "save")
    one = run(tmp_path, 1, "gpt-one", {}, "load", "save")
    again = run(tmp_path, 4, "gpt-again", {"shards": 2, "tensor": 2}, "load")
    for each in (two, one, again):
        assert without_random(each["load"][0]) == without_random(four["save"][0])
