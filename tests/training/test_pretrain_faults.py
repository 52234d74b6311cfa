"""A training that is killed, has no room, or learns from a bad batch goes on as if nothing had been."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from freehold.errors import TrainingDiverged
from freehold.training.trainer.log_file import NAME, read_lines
from freehold.training.trainer.recipe import CheckpointRecipe, SpikeRecipe, TrainingRecipe
from tests.disk import fill, small_disk
from tests.training.pretrain_program import main

pytestmark = pytest.mark.torch

EVERY = 20


def recipe(steps: int, **others: Any) -> TrainingRecipe:
    """A training that logs each step."""
    checkpoints = CheckpointRecipe(every_steps=EVERY)
    return TrainingRecipe(
        steps=steps,
        batch=16,
        micro_batch=8,
        checkpoints=checkpoints,
        log_every=1,
        average=0.9,
        evaluate_every=50,
        **others,
    )


@contextmanager
def started(folder: Path, recipe: TrainingRecipe) -> Iterator["subprocess.Popen[str]"]:
    """A training in a process of its own, which does not outlive the test."""
    argv = [sys.executable, "-m", "tests.training.pretrain_program", str(folder), recipe.model_dump_json()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def curve(folder: Path, kind: str = "step") -> dict[int, tuple[Any, ...]]:
    """What was logged of each step that depends on nothing but the recipe."""
    names = ("loss", "grad_norm", "learning_rate", "tokens", "valid_loss")
    lines = [line for line in read_lines(folder / NAME) if line["kind"] == kind]
    assert len({line["step"] for line in lines}) == len(lines), "each step is there once"
    return {line["step"]: tuple(line.get(name) for name in names) for line in lines}


def events(folder: Path) -> list[str]:
    return [line["text"] for line in read_lines(folder / NAME) if line["kind"] == "event"]


def assert_same_end(one: Path, other: Path, steps: int) -> None:
    """Both folders have the same curves, and the same state at the end, bit for bit."""
    assert list(curve(one)) == list(range(1, steps + 1))
    assert curve(one) == curve(other)
    assert curve(one, "evaluation") == curve(other, "evaluation")
    left, right = (
        load_file(folder / "checkpoints" / f"step-{steps}" / "part-0.safetensors") for folder in (one, other)
    )
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert tensor.equal(right[name]), name


def wait_for(process: "subprocess.Popen[str]", holds: Callable[[], bool]) -> None:
    """Wait until something holds of a training that runs."""
    end = time.monotonic() + 600
    while not holds():
        assert process.poll() is None, f"the training has ended: {process.communicate()[1]}"
        assert time.monotonic() < end, "the training stands still"
        time.sleep(0.001)


def logged(folder: Path, kind: str = "step") -> int:
    path = folder / NAME
    return path.read_bytes().count(f'"kind": "{kind}"'.encode()) if path.exists() else 0


def kill_at_random(folder: Path, recipe: TrainingRecipe, kills: int, draw: random.Random) -> list[str]:
    """Kill a training so many times, then let it end; returns where each kill hit."""
    hits = []
    for _ in range(kills):
        begun, told = (folder / NAME).exists(), logged(folder, "event")
        with started(folder, recipe) as process:
            if begun:
                wait_for(process, partial(_goes_on, folder, told))
            hits.append(kill(process, folder, draw))
    main(folder, recipe)
    return hits


def _goes_on(folder: Path, events_before: int) -> bool:
    """Whether a training has said so; it has cut its log then."""
    return logged(folder, "event") > events_before


def kill(process: "subprocess.Popen[str]", folder: Path, draw: random.Random) -> str:
    """Kill a training some steps from now, or while a checkpoint is written; returns which of these it was."""
    checkpoints = folder / "checkpoints"
    until = logged(folder) + draw.randrange(1, 2 * EVERY)
    in_checkpoint = draw.random() < 0.5
    wait_for(process, lambda: filling(checkpoints) if in_checkpoint else logged(folder) >= until)
    time.sleep(draw.random() * (0.004 if in_checkpoint else 0.02))
    process.send_signal(signal.SIGKILL)
    process.wait()
    return "checkpoint" if filling(checkpoints) else "step"


def test_a_training_that_is_killed_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Killed three times at random moments, it has the same curves and the same end as one that was left alone."""
    short = recipe(400)
    main(tmp_path / "alone", short)
    kill_at_random(tmp_path / "killed", short, 3, random.Random(11))
    assert_same_end(tmp_path / "alone", tmp_path / "killed", 400)


@pytest.mark.long
def test_a_training_that_is_killed_twenty_times_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Also when it is killed while a checkpoint is written."""
    long = recipe(2000)
    main(tmp_path / "alone", long)
    hits = kill_at_random(tmp_path / "killed", long, 20, random.Random(20))
    assert_same_end(tmp_path / "alone", tmp_path / "killed", 2000)
    assert hits.count("checkpoint") >= 3, hits


def filling(checkpoints: Path) -> bool:
    """Whether a checkpoint is being written."""
    return (checkpoints / ".partial").exists()


def halt_between_checkpoints(process: "subprocess.Popen[str]", checkpoints: Path) -> None:
    """Halt a training when it writes no checkpoint, and deletes none."""
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        if not filling(checkpoints) and len(list(checkpoints.iterdir())) == 2:
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.001)


def test_a_full_disk_loses_no_checkpoint_and_stops_no_training(tmp_path: Path) -> None:
    """Checkpoints that cannot be written are told, those before them stay, and later ones come when there is room."""
    whole = recipe(400)
    main(tmp_path / "alone", whole)
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        folder, checkpoints = disk / "full", disk / "full" / "checkpoints"
        with started(folder, whole) as process:
            wait_for(process, (checkpoints / f"step-{2 * EVERY}").exists)
            halt_between_checkpoints(process, checkpoints)
            ballast, standing = fill(disk), set(checkpoints.iterdir())
            seen_ns = checkpoints.stat().st_mtime_ns
            process.send_signal(signal.SIGCONT)
            wait_for(process, lambda: checkpoints.stat().st_mtime_ns != seen_ns and not filling(checkpoints))
            assert set(checkpoints.iterdir()) >= standing
            ballast.unlink()
            errors = process.communicate(timeout=120)[1]
        assert process.returncode == 0, errors
        assert any("could not be written" in text for text in events(folder)), events(folder)
        assert_same_end(tmp_path / "alone", folder, 400)


def test_a_bad_batch_is_left_out(tmp_path: Path) -> None:
    """The step with the leap changes no weight, and the curve goes on below."""
    main(tmp_path, recipe(60), [40])
    losses = {step: values[0] for step, values in curve(tmp_path).items()}
    assert losses[41] > 100
    assert max(losses[step] for step in range(42, 61)) < 2 * losses[40]
    assert events(tmp_path) == [f"the loss leapt to {losses[41]:.4g}; step 41 changed nothing"]


def test_a_run_of_bad_batches_sends_the_training_back(tmp_path: Path) -> None:
    """It goes back to the checkpoint, takes other batches from there on, and has each step once in its log."""
    main(tmp_path, recipe(80, spikes=SpikeRecipe(patience=3)), [50, 51, 52])
    losses = {step: values[0] for step, values in curve(tmp_path).items()}
    assert list(losses) == list(range(1, 81))
    assert max(losses[step] for step in range(30, 81)) < 100
    assert any("back to step 40" in text for text in events(tmp_path)), events(tmp_path)


def test_a_training_that_only_leaps_ends_with_an_error(tmp_path: Path) -> None:
    """Going back does not help for ever; what to try instead is told."""
    with pytest.raises(TrainingDiverged, match="going back 2 times did not help"):
        main(tmp_path, recipe(200, spikes=SpikeRecipe(patience=2, rollbacks=2)), range(50, 200))
    assert (tmp_path / "checkpoints" / "step-40").exists()
