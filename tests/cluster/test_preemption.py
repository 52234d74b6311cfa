"""Serving and training on one machine: a spike takes a training's room, which goes on later as if nothing had been."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.cli.program import ARGV, PATIENCE_S, Program
from tests.cluster.spike import REQUESTS, come, go
from tests.jobs.starting import PATHS
from tests.service import Service, eventually
from tests.training.finetune.driving import trainer_python
from tests.training_jobs import look, reached

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[cluster]
cores = 2
memory_bytes = 8000000000

[training]
python = "{python}"
price_per_core_hour = "3600"
"""
STEPS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prepared text, a recipe, and what is trained."""
    python = trainer_python()
    if python is None:
        pytest.skip("there is no environment with torch; make setup-train makes it")
    made = tmp_path_factory.mktemp("preemption")
    argv = [python, "-m", "tests.training.language.prepare_program", str(made)]
    subprocess.run(argv, check=True, cwd=PATHS["PYTHONPATH"])
    return made


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    """A server whose cluster is two cores."""
    with Service(folder / "home", CONFIG.format(python=trainer_python())) as running:
        yield running


def test_a_spike_takes_a_trainings_room_and_changes_nothing(service: Service, folder: Path) -> None:
    """A training that callers preempt is resumed, and ends with the losses and weights of one that nobody disturbed."""
    program, quiet, disturbed = Program(folder / "home"), folder / "quiet", folder / "disturbed"
    text, recipe = str(folder / "data"), str(folder / "small.json")
    words = ("train", "pretrain", "--data", text, "--recipe", recipe, "--threads", "1", "--device", "cpu")
    training = program.json(*words, "--out", str(disturbed), "--submit")["id"]
    with subprocess.Popen(
        [*ARGV, *words, "--out", str(quiet)], env=program.environment, stdout=subprocess.DEVNULL
    ) as alone:
        eventually(lambda: bool(losses(disturbed)), f"it trains: {service.log()[-3000:]}")
        serve_meanwhile(service, program, training)
        done = reached(service, training, "succeeded")
        assert alone.wait(PATIENCE_S) == 0
    assert losses(disturbed) == losses(quiet)
    assert len(losses(quiet)) == STEPS
    one, other = (load_file(run / "checkpoints" / f"step-{STEPS}" / "part-0.safetensors") for run in (quiet, disturbed))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert_on_account(service, done)
    assert "preemptions" in program.fine("jobs", "show", training)


def serve_meanwhile(service: Service, program: Program, training: str) -> None:
    """Callers come, need all of the machine, are served, and go."""
    come(service)
    waiting = look(service, training)
    assert waiting["status"] == "preempted"
    assert 0 < waiting["step"] < STEPS
    assert "preempted" in program.fine("jobs", "list", "--active")
    go(service)


def assert_on_account(service: Service, done: Mapping[str, Any]) -> None:
    """The training and what was served are on one report, and all of it agrees with the journal."""
    tokens = STEPS * 64 * 16
    assert (done["trained_tokens"], done["preemptions"]) == (tokens, 1)
    (line,) = service.get("/admin/usage/showback", key=service.key).json()["data"]
    assert (line["requests"], line["trainings"], line["trained_tokens"]) == (REQUESTS, 1, tokens)
    assert line["serving_micro"] > 0
    assert line["training_micro"] == done["cost_micro"] > 0
    assert line["total_micro"] == line["serving_micro"] + line["training_micro"]
    lines = service.post("/admin/reconcile", None).body.splitlines()
    compared = json.loads(lines[-1])["reconciliation"]
    assert (compared["gaps"], compared["stretches"]) == ([], 2)


def losses(run: Path) -> list[tuple[int, float]]:
    """The steps and losses of a training so far."""
    log = run / "log.jsonl"
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "step"]
