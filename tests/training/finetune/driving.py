"""How tests and benchmarks run the training process: a folder, a process, its messages, and a grader."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freehold.config import engine_environment
from freehold.jobs.process import SANDBOX, Bounds
from freehold.training.finetune.protocol import ENVIRONMENT
from tests.training.finetune.data_sets import write

MODULE = "freehold.training.finetune.worker"
ROOT = Path(__file__).resolve().parents[3]
Grader = Callable[[Mapping[str, Any], str], float | None]


def trainer_python() -> str | None:
    """An interpreter that has torch and TRL: the training environment's, or this one; None if there is none."""
    for python in (str(ROOT / ".venv-train" / "bin" / "python"), sys.executable):
        probe = [
            python,
            "-c",
            "import importlib.util as u, sys; sys.exit(not (u.find_spec('torch') and u.find_spec('trl')))",
        ]
        if Path(python).exists() and subprocess.run(probe, check=False).returncode == 0:
            return python
    return None


def lay_job(
    folder: Path,
    method: str,
    base: Path,
    training: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]] = (),
    **task: Any,
) -> Path:
    """Make a job's folder; returns it."""
    folder.mkdir(parents=True)
    write(folder / "training.jsonl", training)
    if validation:
        write(folder / "validation.jsonl", validation)
    digest = base.name.removeprefix("sha256-")
    body = {
        "method": method,
        "base": {"name": "base", "path": str(base), "sha256": digest},
        "training": "training.jsonl",
        "validation": "validation.jsonl" if validation else None,
        "name": "ft:base:test",
        **task,
    }
    (folder / "task.json").write_text(json.dumps(body))
    return folder


@dataclass
class Run:
    """What a process said, and how it ended."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    status: int | None = None
    complaint: str = ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The messages of a kind."""
        return [message for message in self.messages if message["type"] == kind]

    def series(self, name: str) -> list[float]:
        """A metric, over the steps at which it was measured."""
        return [message[name] for message in self.of("metrics") if message.get(name) is not None]


class Trainer:
    """The training process of a job's folder, without any network, while it runs.

    Args:
        python: the interpreter that has torch.
        folder: the job's.
        grader: answers what the process wants graded.
    """

    def __init__(self, python: str, folder: Path, grader: Grader | None = None) -> None:
        self.run = Run()
        self._grader = grader
        self._log = (folder / "log.txt").open("ab")
        self._process = subprocess.Popen(
            [python, "-P", "-m", SANDBOX, *Bounds(None, isolate=True).arguments(os.getpid()), MODULE, str(folder)],
            cwd=folder,
            env=engine_environment(ENVIRONMENT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        self._folder = folder

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the process says, until it has ended; what is to be graded is graded."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            self.run.messages.append(message)
            if message["type"] == "grade" and self._grader is not None:
                rewards = [self._grader(sample["item"], sample["output_text"]) for sample in message["samples"]]
                self.tell({"type": "grades", "id": message["id"], "rewards": rewards, "problems": []})
            yield message
        self.run.status = self._process.wait()
        self._log.close()
        self.run.complaint = (self._folder / "log.txt").read_text(errors="replace")[-4000:]
        self._process.stdout.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def tell(self, message: Mapping[str, Any]) -> None:
        """Say something to the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End the process as a failing machine would."""
        os.killpg(self._process.pid, signal.SIGKILL)


def run(python: str, folder: Path, grader: Grader | None = None) -> Run:
    """Run a job to its end."""
    trainer = Trainer(python, folder, grader)
    for _ in trainer.messages():
        pass
    return trainer.run
