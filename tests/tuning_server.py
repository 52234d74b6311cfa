"""A Freehold server that fine-tunes with the program that only counts, `tests.tuning_program`; for tests.

python -m tests.tuning_server HOME CONFIG
"""

import sys
from pathlib import Path

from freehold.config import load_settings
from freehold.gateway.tuning_python import Trainer
from freehold.server import run
from tests.jobs.starting import PATHS

COUNTING = Trainer(module="tests.tuning_program", needs=(), environment=PATHS)

if __name__ == "__main__":
    settings = load_settings(Path(sys.argv[2]))
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0})})
    sys.exit(run(Path(sys.argv[1]), settings, announce=lambda _: None, trainer=COUNTING))
