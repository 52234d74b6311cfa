"""`python -m freehold.training.finetune.worker FOLDER [BASE]`: the process that fine-tunes a model.

The folder has the task and the files of examples, and gets checkpoints and the result. BASE is the file of the model
that is tuned where this machine has a copy of its own, in place of the path that the task has. What the process says
and hears is in `freehold.training.finetune.protocol`.
"""

import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path

import torch
import transformers

from freehold.config import leave_gang
from freehold.training.finetune.job import Job
from freehold.training.finetune.protocol import (
    FAILED,
    FINISHED,
    STOPPED,
    Channel,
    Stopped,
    Task,
    TaskInvalid,
)

VERSIONS = ("torch", "transformers", "trl", "peft")


def main() -> int:
    """Do a job; returns the exit status."""
    folder, *base = map(Path, sys.argv[1:])
    channel = Channel.of_this_process()
    leave_gang()  # accelerate would open a port for the others
    logging.captureWarnings(capture=True)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        task = Task.read(folder)
        if base:
            task = task.model_copy(update={"base": task.base.model_copy(update={"path": base[0]})})
        torch.set_num_threads(task.threads)
        versions = {name: version(name) for name in VERSIONS}
        return FINISHED if Job(task, folder, channel, versions).run() else STOPPED
    except TaskInvalid as exc:
        channel.say("failed", code=exc.code, message=exc.message, param=exc.param)
        return FAILED
    except Stopped:
        return STOPPED


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # libraries have threads of their own, one of which may wait for ever
