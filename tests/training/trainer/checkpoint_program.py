"""A small training that is saved and loaded, on any number of processes.

    python -m tests.training.trainer.checkpoint_program RANK WORLD FOLDER NAME PARALLEL ACTION…

A NAME that begins with `gpt` trains a language model, whose matrices can be split (tensor parallel). Actions are
`train`, `save`, `load` and `fail` (as `save`, but the last process may write no files). The first process writes
`NAME.json`: the digests of the whole state after each action.
"""

import hashlib
import json
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from freehold.training.language.model import built
from freehold.training.language.recipes import ModelRecipe
from freehold.training.trainer import state
from freehold.training.trainer.checkpoints import Checkpoints
from freehold.training.trainer.optimizers import optimizers_of as pretraining_optimizers
from freehold.training.trainer.parallel import Devices, Place
from freehold.training.trainer.recipe import CheckpointRecipe, OptimizerRecipe, ParallelRecipe, TrainingRecipe

IDENTITY = {"recipe": {"seed": 1, "model": {"width": 6}}}
STEPS = 3


class Small(nn.Module):
    """A head that is the embedding, sizes that divide by nothing, a buffer, and a vector of one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.inner = nn.Linear(6, 6)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("shift", torch.full((3,), 0.5))

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = torch.tanh(self.inner(self.embedding(tokens))) * self.scale + self.shift.sum()
        return self.head(hidden)


def optimizers_of(model: Small) -> list[Optimizer]:
    """Two, which remember different things."""
    inner = list(model.inner.parameters())
    return [SGD(inner, lr=0.1, momentum=0.9), AdamW([model.embedding.weight, model.scale], lr=0.01)]


def small(devices: Devices, recipe: TrainingRecipe) -> tuple[nn.Module, list[Optimizer]]:
    """The small model on the devices, and its optimizers."""
    model = Small()
    devices.distribute(model, recipe)
    return model, optimizers_of(model)


def language_model(devices: Devices, recipe: TrainingRecipe) -> tuple[nn.Module, list[Optimizer]]:
    """A language model on the devices, and its optimizers."""
    model = built(ModelRecipe(vocabulary=14, layers=2, width=12, heads=2, kv_heads=2, feed_forward=10, context=8))
    devices.distribute(model, recipe)
    model.to_empty(device=devices.device)
    model.initialise(1)
    return model, pretraining_optimizers(model, OptimizerRecipe(kind="muon"))


def train(model: nn.Module, optimizers: list[Optimizer], steps: int) -> float:
    """Make steps with random batches; returns the last loss."""
    loss = torch.zeros(())
    for _ in range(steps):
        tokens = torch.randint(7, (4, 6))
        following = (tokens + 1) % 7
        if isinstance(model, Small):
            loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), following.flatten())
        else:
            loss = model(tokens, following)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return loss.item()


@contextmanager
def small_files() -> Iterator[None]:
    """As on a full disk, no file of this process may be larger than some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def digest(model: nn.Module, optimizers: list[Optimizer], rank: int) -> dict[str, str]:
    """The digest of each whole tensor of the state, by name."""
    found = {}
    for name, tensor in sorted(state.tensors_of(model, optimizers, {}, rank).items()):
        whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        if rank == 0 or not name.startswith("random/"):
            found[name] = hashlib.sha256(whole.detach().cpu().numpy().tobytes()).hexdigest()
    return found


def main(rank: int, world: int, folder: Path, name: str, parallel: Mapping[str, Any], actions: list[str]) -> None:
    """Do the actions, in order."""
    torch.set_num_threads(1)
    recipe = TrainingRecipe(steps=9, batch=4, micro_batch=4, parallel=ParallelRecipe(**parallel))
    told: dict[str, Any] = {}
    with Devices.open(recipe.parallel, "cpu", Place(rank, rank, world, f"file://{folder}/{name}.meet")) as devices:
        torch.manual_seed(0)
        model, optimizers = language_model(devices, recipe) if name.startswith("gpt") else small(devices, recipe)
        checkpoints = Checkpoints(folder / "checkpoints", IDENTITY, CheckpointRecipe(), devices)
        step = 0
        for action in actions:
            if action == "train":
                step += STEPS
                train(model, optimizers, STEPS)
            elif action == "save":
                checkpoints.save(step, model, optimizers, {"taken": step})
            elif action == "fail":
                with small_files() if rank == world - 1 else nullcontext():
                    checkpoints.save(step, model, optimizers, {"taken": step})
                    checkpoints.wait()
                told["failure"] = checkpoints.failure()
            elif action == "load":
                found = checkpoints.newest()
                assert found is not None, checkpoints.passed_over
                told["extra"] = checkpoints.load(found, model, optimizers)
                step = found.step
            told.setdefault(action, []).append(digest(model, optimizers, rank))
        checkpoints.close()
    if rank == 0:
        (folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    rank, world, folder, name, parallel, *actions = sys.argv[1:]
    main(int(rank), int(world), Path(folder), name, json.loads(parallel), actions)
