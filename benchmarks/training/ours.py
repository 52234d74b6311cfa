"""Our own training at a shape of nanoGPT's: text prepared as `freehold train data` does, and the loop of `pretrain`."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.training.shapes import Shape
from benchmarks.training.stopwatch import Elapsed, between
from freehold.training.data.shards import TokenShards
from freehold.training.language.recipes import LanguageRecipe, named
from freehold.training.language.task import Task
from freehold.training.process import QUICK_MEMORY
from freehold.training.trainer.recipe import changed

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"adamw": "AdamW", "muon": "Muon"}
BYTE_LEVEL = 260
"""Tokens of a tokenizer without merges: the bytes and four special ones."""
_LINE = re.compile(r"^step (?P<step>\d+)$")


class Ours:
    """Freehold's training.

    Args:
        folder: for the prepared text and what the training writes.
        text: what is learnt.
        python: an interpreter with torch.
        threads: that it has.
        optimizer: "adamw", as nanoGPT has, or "muon", as our recipe has.
        compute: "float32", as nanoGPT has on a processor, or "auto": bfloat16 where that is quicker.

    Raises:
        SystemExit: the text could not be prepared.
    """

    def __init__(self, folder: Path, text: Path, python: str, threads: int, optimizer: str, compute: str) -> None:
        self.name = f"Freehold, {NAMES[optimizer]}, {compute}"
        self._compute = compute
        self._folder, self._python, self._threads, self._optimizer = folder, python, threads, optimizer
        self._data = prepared(folder, text)
        self._vocabulary = TokenShards.open(self._data).vocabulary

    def parameters(self, shape: Shape) -> int:
        """Of our model."""
        return self._recipe(shape).model.parameters

    def train(self, shape: Shape) -> Elapsed:
        """Train until the shape's last step."""
        out = self._folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        task = Task(recipe=self._recipe(shape), data=str(self._data), out=str(out), device="cpu")
        return between(
            [
                self._python,
                "-m",
                "benchmarks.training.ours_program",
                task.model_dump_json(),
                str(shape.logged_every),
            ],
            _LINE,
            (shape.from_step, shape.to_step),
            cwd=ROOT,
            environment={**QUICK_MEMORY, "OMP_NUM_THREADS": str(self._threads)},
        )

    def _recipe(self, shape: Shape) -> LanguageRecipe:
        values: dict[str, Any] = {
            "model.layers": shape.layers,
            "model.width": shape.width,
            "model.heads": shape.heads,
            "model.kv_heads": shape.heads,
            "model.feed_forward": shape.feed_forward(self._vocabulary),
            "model.context": shape.block,
            "sequence": shape.block,
            "training.steps": 2000,
            "training.batch": shape.batch,
            "training.micro_batch": shape.batch,
            "training.optimizer.kind": self._optimizer,
            "training.precision.compute": self._compute,
            "training.log_every": shape.logged_every,
            "training.evaluate_every": "null",
            "training.checkpoints.every_steps": 100_000,
        }
        return changed(named("shakespeare", self._vocabulary), {path: str(value) for path, value in values.items()})


def prepared(folder: Path, text: Path) -> Path:
    """The folder of a text's tokens, byte by byte; the last tenth is held out. Made where it is not there.

    Raises:
        SystemExit: the text could not be prepared.
    """
    data, tokenizer = folder / "data", folder / "tokenizer"
    if not data.exists():
        folder.mkdir(parents=True)
        _freehold("tokenizer", "--text", str(text), "--vocabulary", str(BYTE_LEVEL), "--out", str(tokenizer))
        split = ("--validation-share", "0.1")
        _freehold("data", "--text", str(text), "--tokenizer", str(tokenizer), *split, "--out", str(data))
    return data


def _freehold(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "freehold", "train", *arguments], cwd=ROOT, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the text could not be prepared:\n{done.stderr[-2000:]}")
