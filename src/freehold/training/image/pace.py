"""How many steps fit into a time: measured where the training will run, before it begins."""

import statistics
import time
from typing import Any, Final

import torch
from torch import nn

from freehold.training.image.objective import StageObjective
from freehold.training.trainer.recipe import TrainingRecipe

_WARM_UP: Final = 3
_MEASURED: Final = 7


def steps_within(minutes: float, objective: StageObjective[Any], recipe: TrainingRecipe) -> int:
    """Steps that this process's threads make in so many minutes of their work. The objective's model is trained by it.

    What other processes do on the machine does not count: it is the processor's time that is shared out.
    """
    model = objective.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
    seconds = []
    for step in range(_WARM_UP + _MEASURED):
        before = time.process_time()
        for micro in range(recipe.batch // recipe.micro_batch):
            objective.loss(objective.batch(step, micro)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append((time.process_time() - before) / torch.get_num_threads())
    return max(1, round(minutes * 60 / statistics.median(seconds[_WARM_UP:])))
