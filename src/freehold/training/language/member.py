"""One process of a training that was submitted as a job: `python -m freehold.training.language.member TASK`.

TASK is a `Task` as JSON; which of the job's processes this is, the environment says under torchrun's names. Asked to
stop (SIGTERM), it does so after the step that it is at, with a checkpoint. Lines of JSON on standard output say:

    {"type": "started", "step": 120, "device": "cpu"}
    {"type": "ended", "step": 400, "finished": true, "metrics": {"valid_loss": 1.9}}
    {"type": "refused", "message": "training.batch: …"}
"""

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from freehold.config import gang_from_environment
from freehold.errors import ConfigError
from freehold.training.language.build import alone, keep, opened
from freehold.training.language.task import Task
from freehold.training.language.worker import train
from freehold.training.process import asked_to_stop, worker_status


def main() -> None:
    """Train, and say what is wrong where that cannot be done.

    Raises:
        ConfigError: the task cannot be done, or the folder is another training's.
    """
    try:
        work(placed(Task.model_validate_json(sys.argv[1]), gang_from_environment()), asked_to_stop())
    except ConfigError as exc:
        say({"type": "refused", "message": exc.message})
        raise


def work(task: Task, stop: Callable[[], bool]) -> None:
    """Train; the first of the processes keeps the folder as `freehold train pretrain` does.

    Raises: as `main`.
    """
    first = task.rank == 0
    run = opened(Path(task.out), Path(task.data), task.recipe, {}, resume=True)
    with alone(run) if first else nullcontext():
        if first:
            keep(run)
        step = run.step
        ended = train(task, stop, lambda kind: say({"type": "started", "step": step, "device": kind}))
    say({"type": "ended", "step": ended.step, "finished": ended.finished, "metrics": dict(ended.metrics)})


def placed(task: Task, gang: dict[str, str]) -> Task:
    """The task of that process of a gang; of the only one if it says nothing.

    Args:
        task: of all processes.
        gang: `RANK`, `LOCAL_RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`.

    Raises:
        ConfigError: one of several does not say where the others are.
    """
    world = int(gang.get("WORLD_SIZE", 1))
    if world == 1:
        return task
    lacking = {"RANK", "MASTER_ADDR", "MASTER_PORT"} - gang.keys()
    if lacking:
        raise ConfigError(f"the environment does not say {', '.join(sorted(lacking))}")
    rank = int(gang["RANK"])
    address = gang["MASTER_ADDR"]
    host = f"[{address}]" if ":" in address else address
    where = {"rank": rank, "local_rank": int(gang.get("LOCAL_RANK", rank)), "world": world}
    return task.model_copy(update={**where, "rendezvous": f"tcp://{host}:{gang['MASTER_PORT']}"})


def say(line: dict[str, Any]) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(worker_status(main))
