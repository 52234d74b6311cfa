"""The files of examples: checked as they are read, and laid down in a job's folder while they are."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final, cast

from freehold.training.finetune.dataset import Checker, DatasetReport, Problem
from freehold.types.fine_tuning import MOST_PROBLEMS, MethodName, TuningError

VALIDATED: Final = "Files validated, moving job to queued state"
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
    checker = _checker(name, method)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        async with aclosing(pieces):
            async for piece in pieces:
                await asyncio.to_thread(_take, checker, piece)
                await asyncio.to_thread(written.write, piece)
    return _reported(checker, name, most_examples)


async def look_through(pieces: AsyncGenerator[bytes], name: str, method: str, *, most_examples: int) -> None:
    """Return if a file of examples can be trained on; args and errors as `lay_down`, which also writes it."""
    checker = _checker(name, method)
    async with aclosing(pieces):
        async for piece in pieces:
            await asyncio.to_thread(_take, checker, piece)
    _reported(checker, name, most_examples)


def _checker(name: str, method: str) -> Checker:
    known = cast("MethodName", method)
    return Checker(known) if name == "training" else Checker(known, MIN_VALIDATION)


def _reported(checker: Checker, name: str, most_examples: int) -> DatasetReport:
    """What was found in a file.

    Raises:
        Problems: it cannot be trained on.
    """
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
