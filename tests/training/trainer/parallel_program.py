"""A small training on several processes, for tests: `python -m … RANK WORLD FOLDER CASE…`, each with the same cases.

The first process writes what it saw into the folder.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from freehold.training.language.model import GPT, built
from freehold.training.language.recipes import ModelRecipe
from freehold.training.trainer import precision
from freehold.training.trainer.optimizers import optimizers_of
from freehold.training.trainer.parallel import Devices, Place
from freehold.training.trainer.recipe import OptimizerRecipe, ParallelRecipe, PrecisionRecipe, TrainingRecipe
from freehold.training.trainer.share import StepShare

MODEL = ModelRecipe(vocabulary=64, layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=16)
STEPS = 20


@dataclass(frozen=True)
class Case:
    """What differs from a training on one process, eager and with AdamW."""

    parallel: dict[str, Any] = field(default_factory=dict)
    optimizer: Literal["adamw", "muon"] = "adamw"
    tied: bool = True
    precision: dict[str, Any] = field(default_factory=dict)


CASES = {
    "alone": Case(),
    "alone_muon": Case(optimizer="muon"),
    "alone_untied": Case(tied=False),
    "alone_compiled": Case(precision={"compile": True}),
    "alone_recomputed": Case({"activation_checkpointing": True}),
    "alone_bfloat16": Case(precision={"compute": "bfloat16"}),
    "sharded": Case(),
    "sharded_muon": Case(optimizer="muon"),
    "sharded_untied": Case(tied=False),
    "sharded_recomputed": Case({"activation_checkpointing": True}),
    "sharded_compiled": Case(precision={"compile": True}),
    "sharded_bfloat16": Case(precision={"compute": "bfloat16"}),
    "replicated": Case({"replicas": 2}),
    "tensor": Case({"tensor": 2}),
    "tensor_untied": Case({"tensor": 2}, tied=False),
    "tensor_muon": Case({"tensor": 2}, optimizer="muon"),
    "tensor_compiled": Case({"tensor": 2}, precision={"compile": True}),
    "tensor_recomputed_compiled": Case({"tensor": 2, "activation_checkpointing": True}, precision={"compile": True}),
    "hybrid": Case({"replicas": 2, "shards": 2}),
    "hybrid_muon": Case({"replicas": 2, "shards": 2}, optimizer="muon"),
    "sharded_tensor": Case({"shards": 2, "tensor": 2}),
    "sharded_tensor_muon": Case({"shards": 2, "tensor": 2}, optimizer="muon"),
}


def recipe_of(case: Case) -> TrainingRecipe:
    """The case's training."""
    return TrainingRecipe(
        steps=STEPS,
        batch=8,
        micro_batch=1,
        optimizer=OptimizerRecipe(kind=case.optimizer, learning_rate=3e-3, clip_norm=0.5),
        precision=PrecisionRecipe(**{"compute": "float32", **case.precision}),
        parallel=ParallelRecipe(**case.parallel),
    )


def samples(step: int, batch: int) -> tuple[Tensor, Tensor]:
    """Tokens and those that come next; the step's samples are the same on each process."""
    draw = torch.Generator().manual_seed(step)
    start = torch.randint(MODEL.vocabulary, (batch, 1), generator=draw)
    whole = (start + 3 * torch.arange(MODEL.context + 1)) % MODEL.vocabulary
    return whole[:, :-1], whole[:, 1:]


def curve(case: Case, place: Place) -> dict[str, Any]:
    """Train, and tell the loss and the gradient's length of each step, and a weight at the end."""
    recipe = recipe_of(case)
    with Devices.open(recipe.parallel, "cpu", place) as devices:
        model = built(MODEL.model_copy(update={"tied": case.tied}))
        devices.distribute(model, recipe)
        model.to_empty(device=devices.device)
        model.initialise(recipe.seed)
        found = _train(model, recipe, devices)
        first = model.model.layers[0]
        found["weights"] = {
            "norm": _whole(first.input_layernorm.weight).tolist(),
            "down": _whole(first.mlp.down_proj.weight)[0].tolist(),
        }
    return found


def _train(model: GPT, recipe: TrainingRecipe, devices: Devices) -> dict[str, Any]:
    numbers = precision.of(recipe.precision, devices.device.type)
    optimizers = optimizers_of(model, recipe.optimizer, numbers.dtype)
    share = StepShare.of(recipe, devices.data_rank, devices.data_world)
    losses, lengths = [], []
    for step in range(recipe.steps):
        inputs, targets = samples(step, recipe.batch)
        total = torch.zeros(())
        for micro in range(share.pieces):
            devices.accumulating(model, last=micro == share.pieces - 1)
            rows = list(share.rows(micro))
            with numbers.autocast():
                loss = model(inputs[rows], targets[rows]) / share.pieces
            loss.backward()
            total += loss.detach()
        lengths.append(devices.clip(model.parameters(), recipe.optimizer.clip_norm).item())
        losses.append(devices.mean(total).item())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return {"losses": losses, "lengths": lengths}


def _whole(weight: Tensor) -> Tensor:
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight


def main(rank: int, world: int, folder: Path, names: list[str]) -> None:
    """Run the cases."""
    torch.set_num_threads(1)
    found = {}
    for name in names:
        place = Place(rank, rank, world, f"file://{folder}/{name}")
        found[name] = curve(CASES[name], place)
        if rank == 0:
            (folder / f"{name}.json").write_text(json.dumps(found[name]), encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
