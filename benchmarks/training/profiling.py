"""The share of a GPU's peak that our training reaches (MFU), and where the time goes, by torch's profiler."""

import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.training.ours import ROOT, prepared
from freehold.training.language.recipes import named
from freehold.training.language.task import Task
from freehold.training.process import training_python
from freehold.training.trainer.log_file import NAME, read_lines
from freehold.training.trainer.recipe import changed

VOCABULARY = 50_304
"""GPT-2's, to the next multiple of 64; the text has fewer tokens, which changes no time."""
MICRO_BATCHES = 8
"""Of a step, so that a step of the larger model takes seconds, not a minute; its optimizer's part is larger so."""
WARM_UP, MEASURED, PROFILED = 8, 12, 3
"""Steps."""


def profiled(recipe: str, text: Path, folder: Path) -> dict[str, Any]:
    """Train a recipe's model for some steps on one GPU, and tell its speed; the profile goes into the folder.

    Raises:
        SystemExit: there is no GPU, or the training failed.
    """
    python = training_python()
    probe = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([python, "-c", probe], check=False).returncode:
        raise SystemExit("--profile measures GPUs by CUDA; there is none here, or torch was built without CUDA")
    with tempfile.TemporaryDirectory() as work:
        task = task_of(recipe, prepared(Path(work) / "ours", text), Path(work) / "out")
        return measured(task, python, folder / f"profile-{recipe}.txt")


def task_of(recipe: str, data: Path, out: Path, **settings: str) -> Task:
    """A short training of a recipe's model, on one device."""
    whole = named(recipe, VOCABULARY)
    values = {
        "training.steps": str(WARM_UP + MEASURED + PROFILED),
        "training.batch": str(MICRO_BATCHES * whole.training.micro_batch),
        "training.log_every": "1",
        "training.evaluate_every": "null",
        "training.checkpoints.every_steps": "100000",
        **settings,
    }
    return Task(recipe=changed(whole, values), data=str(data), out=str(out))


def measured(task: Task, python: str, profile: Path) -> dict[str, Any]:
    """Train, and tell what the log says of the steps behind the warm-up and before the profile."""
    Path(task.out).mkdir(parents=True, exist_ok=True)
    steps = (WARM_UP + MEASURED, PROFILED)
    program = [
        python,
        "-m",
        "benchmarks.training.profile_program",
        task.model_dump_json(),
        *map(str, steps),
        str(profile),
    ]
    done = subprocess.run(program, cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"the training failed:\n{done.stderr[-3000:]}")
    lines = [line for line in read_lines(Path(task.out) / NAME) if line["kind"] == "step"]
    counted = [line for line in lines if WARM_UP < line["step"] <= WARM_UP + MEASURED]
    found: dict[str, Any] = {"recipe": task.recipe.model_dump(mode="json"), "parameters": task.recipe.model.parameters}
    for name in ("tokens_per_s", "mfu"):
        values = [line[name] for line in counted if line.get(name) is not None]
        if values:
            found[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    print(json.dumps(found, indent=2))
    print(profile.read_text(encoding="utf-8"))
    return found
