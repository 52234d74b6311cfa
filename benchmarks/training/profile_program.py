"""A training whose steps behind a given one torch's profiler looks at.

Run as `python -m benchmarks.training.profile_program TASK STEP STEPS FILE`.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from freehold.training.data.shards import TokenShards
from freehold.training.language.objective import NextToken
from freehold.training.language.recipes import LanguageRecipe
from freehold.training.language.task import Task
from freehold.training.pretrain import pretrain
from freehold.training.trainer.parallel import Devices

ROWS = 25
"""Of the table: the operations that took longest."""


class Profiled(NextToken):
    """The objective, which has the profiler look on from a step to the end.

    Args:
        recipe: of the training.
        shards: the text.
        devices: where it is trained.
        step: the first that is looked at.
    """

    def __init__(self, recipe: LanguageRecipe, shards: TokenShards, devices: Devices, step: int) -> None:
        super().__init__(recipe, shards, devices)
        self._step = step
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if devices.device.type == "cuda" else [])]
        self.profiler = profile(activities=kinds)

    def batch(self, step: int, micro: int) -> Any:
        """As always."""
        if step == self._step and micro == 0:
            self.profiler.start()
        return super().batch(step, micro)

    def evaluate(self, samples: int | None) -> dict[str, float]:  # noqa: ARG002  # the contract's
        """Nothing: the last step is over, and the profiler with it."""
        self.profiler.stop()
        return {}


def main(task: Task, step: int, steps: int, file: Path) -> None:
    """Train, and write the table and, beside it, the trace."""
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        torch.set_float32_matmul_precision("high")
    with Devices.open(task.recipe.training.parallel, kind) as devices:
        objective = Profiled(task.recipe, TokenShards.open(Path(task.data)), devices, step)
        pretrain(task.recipe.training, objective, devices, Path(task.out), description={"name": task.recipe.name})
        order = "self_cuda_time_total" if kind == "cuda" else "self_cpu_time_total"
        table = objective.profiler.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=60)
        name = torch.cuda.get_device_name() if kind == "cuda" else "processor"
        file.write_text(f"{task.recipe.name}, {steps} steps on {name}\n{table}\n", encoding="utf-8")
        objective.profiler.export_chrome_trace(str(file.with_suffix(".json.gz")))


if __name__ == "__main__":
    main(Task.model_validate_json(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
