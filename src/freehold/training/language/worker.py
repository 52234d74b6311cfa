"""One process of a language model's pre-training: `python -m freehold.training.language.worker TASK`, the task as JSON.

It tells nothing but errors; how far it is stands in the training's log. Asked to stop (SIGTERM, SIGINT), it does so
after the step that it is at, with a checkpoint; asked again, at once.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from freehold.training.data.shards import TokenShards
from freehold.training.language.code import code_facts
from freehold.training.language.objective import NextToken
from freehold.training.language.task import Task
from freehold.training.pretrain import Trained, pretrain
from freehold.training.process import asked_to_stop, worker_status
from freehold.training.trainer.parallel import Devices, Place


def train(task: Task, stop: Callable[[], bool], begun: Callable[[str], None] = lambda _kind: None) -> Trained:
    """Train, from the newest checkpoint on if there is one; how it ended.

    Args:
        task: the process's part.
        stop: asked at each step whether to stop after it.
        begun: told on which kind of device, once all processes have found each other.
    """
    recipe, out = task.recipe, Path(task.out)
    kind = task.device if task.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        torch.set_float32_matmul_precision("high")
    shards = TokenShards.open(Path(task.data))
    with Devices.open(
        recipe.training.parallel, kind, Place(task.rank, task.local_rank, task.world, task.rendezvous)
    ) as devices:
        begun(kind)
        known = {"name": recipe.name, "parameters": recipe.model.parameters, "data": shards.sha256}
        description = {**known, "code": code_facts()}
        return pretrain(
            recipe.training,
            NextToken(recipe, shards, devices),
            devices,
            out,
            description=description,
            price_per_hour=task.price_per_hour,
            stop=stop,
        )


def main() -> None:
    """Do what the task says."""
    train(Task.model_validate_json(sys.argv[1]), asked_to_stop())


if __name__ == "__main__":
    sys.exit(worker_status(main))
