"""The files of examples: checked as they are read, and laid down in a job's folder while they are."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final, cast

from freehold.training.finetune.dataset import Checker, DatasetReport, Problem
from freehold.types.fine_tuning import MOST_PROBLEMS, MethodName, TuningError

MIN_VALIDATION: Final = 1
"""Examples of a validation file."""


class Problems(Exception):  # not an error of the program's
    """A file of examples that cannot be trained on.

    Args:
        error: of the first problem.
        told: all of them that are told, each in a line.
    """

    def __init__(self, error: TuningError, told: tuple[str, ...]) -> None:
        super().__init__(error.message)
        self.error = error
        self.told = told


async def lay_down(
    pieces: AsyncGenerator[bytes], file: Path, name: str, method: str, *, most_examples: int
) -> DatasetReport:
    """Write a file of examples, for this user only, if it can be trained on.

    Args:
        pieces: its content.
        file: where it is to be.
        name: `training` or `validation`.
        method: what its lines must be.
        most_examples: how many there may be.

    Raises:
        Problems: it cannot be.
        OSError: it cannot be written.
    """
    known = cast("MethodName", method)
    checker = Checker(known) if name == "training" else Checker(known, MIN_VALIDATION)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        async with aclosing(pieces):
            async for piece in pieces:
                await asyncio.to_thread(_take, checker, piece)
                await asyncio.to_thread(written.write, piece)
    report = checker.finish()
    param = f"{name}_file"
    if report.problems:
        first = report.problems[0]
        error = TuningError(
            "invalid_training_file" if name == "training" else "invalid_validation_file",
            f"The {name} file has {report.problem_count} problem(s). The first: {first}",
            param,
        )
        raise Problems(error, tuple(_told(name, each) for each in report.problems[:MOST_PROBLEMS]))
    if report.examples > most_examples:
        message = f"The {name} file has {report.examples} examples; at most {most_examples} are taken."
        raise Problems(TuningError("too_many_examples", message, param), ())
    return report


def _take(checker: Checker, piece: bytes) -> None:
    checker.feed(piece)


def _told(name: str, problem: Problem) -> str:
    return f"{name} file, {problem}"
