"""Asking the real engine in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("engine_program.py")


def ask(task: str, model: Path, asked: list[Any]) -> list[Any]:
    """What the engine answers to each of the questions; `task` is "embed" or "complete"."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), task, str(model)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[Any] = json.loads(done.stdout)
    return answers
