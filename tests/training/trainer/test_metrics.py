"""What a training tells of itself is right, is there once for each step, and survives kills and full disks."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from freehold.training.trainer.log_file import NAME, read_lines
from freehold.training.trainer.metrics import TENSORBOARD, Rates, RunLog
from freehold.training.trainer.peaks import peak, peak_of
from tests.disk import fill, small_disk

pytestmark = pytest.mark.torch

RATES = Rates(samples_per_step=8, tokens_per_sample=64, flops_per_sample=1e9, devices=2, peak_flops=1e12)
DESCRIPTION = {"name": "small", "steps": 25}


def log(folder: Path, step: int = 0, **others: Any) -> RunLog:
    return RunLog(folder, DESCRIPTION, others.pop("rates", RATES), others.pop("every", 10), step, **others)


def points(folder: Path, kind: str = "step") -> dict[int, dict[str, Any]]:
    """The points of a curve by their steps, each of which is there once."""
    lines = [line for line in read_lines(folder / NAME) if line["kind"] == kind]
    assert len({line["step"] for line in lines}) == len(lines)
    return {line["step"]: line for line in lines}


def steps(run: RunLog, first: int, last: int) -> None:
    for step in range(first, last + 1):
        run.step(step, torch.tensor(4.0 - step / 100), torch.tensor(0.5), 1e-3)


def curve(folder: Path, name: str) -> dict[int, float]:
    """A curve as TensorBoard reads it."""
    events = EventAccumulator(str(folder / TENSORBOARD)).Reload()
    return {each.step: each.value for each in events.Scalars(name)}


def test_rates_are_those_of_samples_devices_and_time() -> None:
    """Tokens a second, operations over what the devices could do, and money by the hour."""
    rates = Rates(samples_per_step=8, tokens_per_sample=64, flops_per_sample=1e9, devices=2, peak_flops=1e12)
    assert rates.of(10, 0.5) == {"tokens_per_s": 10 * 8 * 64 / 0.5, "mfu": 10 * 8 * 1e9 / 0.5 / 2e12}
    assert rates.cost(3600.0) == {}
    priced = Rates(8, 64, 1e9, devices=2, price_per_hour=2.5)
    assert priced.of(10, 0.5) == {"tokens_per_s": 10240.0}
    assert priced.cost(1800.0) == {"cost": 2.5}


def test_there_is_a_line_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    """A line has the step's own loss, so that it does not depend on where a training was stopped."""
    run = log(tmp_path)
    steps(run, 1, 25)
    run.evaluation(25, {"valid_loss": 3.25})
    run.close()
    lines = read_lines(tmp_path / NAME)
    assert [line["kind"] for line in lines] == ["run", "step", "step", "step", "evaluation", "end"]
    assert {"name": "small", "steps": 25}.items() <= lines[0].items()
    found = points(tmp_path)
    assert list(found) == [10, 20, 25]
    assert found[20]["loss"] == pytest.approx(3.8)
    assert (found[20]["grad_norm"], found[20]["learning_rate"], found[20]["tokens"]) == (0.5, 1e-3, 20 * 512)
    assert found[20]["tokens_per_s"] > 0
    assert found[20]["mfu"] == pytest.approx(found[20]["tokens_per_s"] / 64 * 1e9 / 2e12)
    assert curve(tmp_path, "loss") == pytest.approx({10: 3.9, 20: 3.8, 25: 3.75})
    assert curve(tmp_path, "valid_loss") == {25: 3.25}


def test_a_training_that_goes_on_has_each_step_once(tmp_path: Path) -> None:
    """What a killed training had logged after its checkpoint is cut off, in the log and for TensorBoard."""
    steps(log(tmp_path), 1, 20)
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"kind": "step", "step": 2')
    seconds = points(tmp_path)[20]["seconds"]
    run = log(tmp_path, 15)
    assert list(points(tmp_path)) == [10]
    steps(run, 16, 25)
    run.close()
    assert list(points(tmp_path)) == [10, 20, 25]
    assert points(tmp_path)[25]["seconds"] > seconds, "time that was lost was paid for"
    assert [line["text"] for line in read_lines(tmp_path / NAME) if line["kind"] == "event"] == [
        "goes on after step 15"
    ]
    assert list(curve(tmp_path, "loss")) == [10, 20, 25]
    assert sum(line["kind"] == "run" for line in read_lines(tmp_path / NAME)) == 1


def test_a_training_that_goes_back_has_each_step_once(tmp_path: Path) -> None:
    """After a rewind the same steps come again, with other losses."""
    run = log(tmp_path)
    steps(run, 1, 20)
    run.rewind(10)
    run.event("the loss leapt")
    run.step(20, 1.5, 0.5, 1e-3)
    run.close()
    assert points(tmp_path)[20]["loss"] == 1.5
    assert curve(tmp_path, "loss") == pytest.approx({10: 3.9, 20: 1.5})


def test_a_clock_that_goes_back_hides_no_curve(tmp_path: Path) -> None:
    """What a training that goes on writes is read after what was there, though the clock says that it was before."""
    run = log(tmp_path, every=1)
    steps(run, 1, 20)
    run.close()
    (before,) = (tmp_path / TENSORBOARD).iterdir()
    before.rename(before.with_name(f"events.out.tfevents.{time.time() + 3600:.6f}.host.1"))
    again = log(tmp_path, every=1, step=10)
    steps(again, 11, 15)
    again.close()
    assert list(curve(tmp_path, "loss")) == list(range(1, 16))


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    """The others call the same, and leave nothing."""
    run = log(tmp_path, writes=False)
    steps(run, 1, 25)
    run.evaluation(25, {"valid_loss": 3.0})
    run.event("nothing")
    run.rewind(5)
    run.close()
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_is_null(tmp_path: Path) -> None:
    """The log stays JSON."""
    run = log(tmp_path, every=1)
    run.step(1, math.nan, math.inf, 1e-3)
    run.close()
    assert points(tmp_path)[1]["loss"] is None
    for line in (tmp_path / NAME).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_what_is_aside_does_not_count_as_the_trainings_speed(tmp_path: Path) -> None:
    """An evaluation's time is paid for, and is not the training's."""
    run = log(tmp_path, every=1)
    run.step(1, 1.0, 1.0, 1e-3)
    with run.aside():  # far more work than between two steps
        torch.linalg.matrix_power(torch.eye(512), 2**40)
    run.step(2, 1.0, 1.0, 1e-3)
    run.close()
    found = points(tmp_path)
    elapsed = found[2]["seconds"] - found[1]["seconds"]
    assert found[2]["tokens_per_s"] > 2 * 512 / elapsed


def test_a_full_disk_does_not_stop_the_log(tmp_path: Path) -> None:
    """Lines wait for room and come in their order, none of them half, with a note that says why they came late."""
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        run = log(disk, every=1)
        steps(run, 1, 5)
        ballast = fill(disk)
        steps(run, 6, 40)
        assert list(points(disk))[:5] == [1, 2, 3, 4, 5]
        ballast.unlink()
        steps(run, 41, 45)
        run.close()
        assert list(points(disk)) == list(range(1, 46))
        events = [line["text"] for line in read_lines(disk / NAME) if line["kind"] == "event"]
        assert len(events) == 1
        assert "No space left" in events[0]
        assert list(curve(disk, "loss")) == list(range(1, 46))


def test_devices_are_known_by_what_their_drivers_say() -> None:
    """The longest name that fits counts; slices and strangers have no peak."""
    assert peak_of("NVIDIA H100 80GB HBM3") == 989.4e12
    assert peak_of("NVIDIA H100 PCIe") == 756e12
    assert peak_of("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_of("NVIDIA L40S") == 362e12
    assert peak_of("NVIDIA GeForce RTX 4090") == 165.2e12
    assert peak_of("AMD Instinct MI300X") == 1307.4e12
    assert peak_of("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    assert peak_of("Abacus 3000") is None


def test_a_processors_peak_is_measured() -> None:
    """It is what products of matrices reach here: some billions a second on anything of this century."""
    assert (peak(torch.device("cpu"), torch.float32) or 0.0) > 1e9
