"""Our training as `freehold train pretrain` has it, which also tells when a step begins.

Run as `python -m benchmarks.training.ours_program TASK EVERY`, EVERY so many steps.
"""

import sys
from pathlib import Path
from typing import Any

from freehold.training.data.shards import TokenShards
from freehold.training.language.objective import NextToken
from freehold.training.language.task import Task
from freehold.training.pretrain import pretrain
from freehold.training.trainer.parallel import Devices

EVERY = int(sys.argv[2])


class Telling(NextToken):
    """The objective, which says where the loop is when it is asked for a step's first samples."""

    def batch(self, step: int, micro: int) -> Any:
        """As always."""
        if micro == 0 and step % EVERY == 0:
            print(f"step {step}", flush=True)
        return super().batch(step, micro)


def main() -> None:
    """Train."""
    task = Task.model_validate_json(sys.argv[1])
    with Devices.open(task.recipe.training.parallel, "cpu") as devices:
        objective = Telling(task.recipe, TokenShards.open(Path(task.data)), devices)
        pretrain(task.recipe.training, objective, devices, Path(task.out), description={"name": task.recipe.name})


if __name__ == "__main__":
    main()
