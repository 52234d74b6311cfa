"""Trains a recipe for a few steps on this machine's processor, and tells what memory and time they took.

The loop is the real one (`freehold.training.pretrain`), with tokens that are drawn instead of read, so that no file's
pages count. Memory is the most that a process held, above what it had after a step of a tiny model; of several
processes that of the largest.

    python -m freehold.training.language.trial '{"recipe": …, "processes": 1, "threads": 2, "clock": "wall"}'
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from freehold.training.language.kernels import process_bytes
from freehold.training.language.model import built
from freehold.training.language.recipes import LanguageRecipe
from freehold.training.pretrain import pretrain
from freehold.training.process import worker_status
from freehold.training.trainer.parallel import Devices, Place
from freehold.training.trainer.share import StepShare

WARM_UP: Final = 3
"""Steps that do not count."""


class Drawn:
    """Learns to foretell tokens that were drawn at random: as much work as with real ones."""

    def __init__(self, recipe: LanguageRecipe, devices: Devices, *, wall: bool) -> None:
        self._wall = wall
        self.model = built(recipe.model)
        self.tokens_per_sample = recipe.sequence
        self.flops_per_sample = self.model.flops_per_token(recipe.sequence) * recipe.sequence
        self.began: list[float] = []
        """When each step asked for its first samples."""
        self._recipe = recipe
        self._share = StepShare.of(recipe.training, devices.data_rank, devices.data_world)

    def initialise(self) -> None:
        """Give the model weights."""
        self.model.to_empty(device="cpu")
        self.model.initialise(1)

    def batch(self, step: int, micro: int) -> Tensor:
        """Tokens, and the one after each."""
        if micro == 0:
            self.began.append(time.perf_counter() if self._wall else time.process_time())
        generator = torch.Generator().manual_seed(step * 1000 + micro)
        shape = (self._share.size, self._recipe.sequence + 1)
        return torch.randint(0, self._recipe.model.vocabulary, shape, generator=generator)

    def loss(self, batch: Tensor) -> Tensor:
        """In nats a token."""
        loss: Tensor = self.model(batch[:, :-1], batch[:, 1:])
        return loss

    def evaluate(self, samples: int | None) -> Mapping[str, float]:  # noqa: ARG002  # there is nothing held out
        """Nothing."""
        return {}

    def identity(self) -> Mapping[str, Any]:
        """None but this."""
        return {"objective": "drawn"}


def train(rank: int, wanted: Mapping[str, Any], folder: str) -> None:
    """What one of the processes does: it writes what it found beside the others."""
    torch.set_num_threads(wanted["threads"])
    recipe = LanguageRecipe.model_validate(wanted["recipe"])
    place = Place(rank, rank, wanted["processes"], f"file://{folder}/rendezvous")
    with Devices.open(recipe.training.parallel, "cpu", place) as devices:
        base = process_bytes()
        objective = Drawn(recipe, devices, wall=wanted["clock"] == "wall")
        used = time.process_time()
        pretrain(recipe.training, objective, devices, Path(folder) / "run", description={"name": recipe.name})
        used = time.process_time() - used
    times = [after - before for before, after in zip(objective.began, objective.began[1:], strict=False)]
    found = {
        "base": base,
        "peak": _most_resident_bytes() - base,
        "step_s": median(times[WARM_UP:]),
        "processor_s": used / recipe.training.steps,
    }
    (Path(folder) / f"found-{rank}.json").write_text(json.dumps(found), encoding="utf-8")


def _most_resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Train what the command line says, and print what was found."""
    wanted = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="freehold-plan-") as folder:
        if wanted["processes"] == 1:
            train(0, wanted, folder)
        else:
            spawn(train, (wanted, folder), nprocs=wanted["processes"])
        found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(Path(folder).glob("found-*.json"))]
    sys.stdout.write(f"{json.dumps({key: max(each[key] for each in found) for key in found[0]})}\n")


if __name__ == "__main__":
    sys.exit(worker_status(main))
