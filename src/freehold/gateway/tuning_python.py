"""The program that trains: a module of an interpreter that has what training needs, which the server has not."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from freehold.errors import TrainingUnavailable
from freehold.training.finetune.protocol import ENVIRONMENT
from freehold.training.process import found_python
from freehold.types.fine_tuning import FineTuningSettings

NEEDS: Final = ("torch", "transformers", "trl", "peft")
_LOOK: Final = "import importlib.util as u, sys; print(*[n for n in sys.argv[1:] if u.find_spec(n) is None])"


@dataclass(frozen=True, slots=True)
class Trainer:
    """A program that trains.

    Args:
        python: the interpreter.
        module: what it runs; it speaks as `freehold.training.finetune.worker` does.
        needs: what must be importable there.
        environment: is added to the server's own, for what it runs.
        setting: which names the interpreter.
    """

    python: str = sys.executable
    module: str = "freehold.training.finetune.worker"
    needs: tuple[str, ...] = NEEDS
    environment: Mapping[str, str] = field(default_factory=dict)
    setting: str = "[fine_tuning] python"

    async def check(self) -> None:
        """Return if it can run.

        Raises:
            TrainingUnavailable: it cannot; the message says what to install.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                self.python, "-P", "-c", _LOOK, "freehold", *self.needs, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
            )
            found, _ = await process.communicate()
            missing = ", ".join(found.decode(errors="replace").split()) if process.returncode == 0 else "a Python"
        except OSError:
            missing = "a Python"
        if missing:
            raise TrainingUnavailable(
                f"This server cannot train: {missing} cannot be found where '{self.setting}' points. Install "
                "the extra 'train' there (make setup-train, or pip install 'freehold[train]') and try again."
            )


def trainer_of(settings: FineTuningSettings) -> Trainer:
    """The program that the configuration names or, where it names none, that is found."""
    return Trainer(settings.python or found_python(Path(sys.prefix), NEEDS), environment=ENVIRONMENT)
