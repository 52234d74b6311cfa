"""What the process that trains tells, taken with care: numbers that can be written down, words not too long."""

import math
from collections.abc import Mapping
from typing import Any, Final

from freehold.types.fine_tuning import TuningError

MOST_TOLD: Final = 1000
"""Events that one run of the process may tell in words, and the characters of each."""
MOST_NUMBERS: Final = 64
"""Metrics of one step, and characters of a metric's name."""
NODE_LOST: Final = 256
"""In place of an exit status: the node of the process, or the way there, was lost, and nobody knows how it ended."""
NODE_UNREADY: Final = "node_unready"
"""The code of the error that a node cannot begin a job."""
_LARGEST: Final = 2**53
_NEVER: Final = frozenset({"type", "step", "total"})


def count_of(value: Any) -> int:
    """A number that counts something. ValueError if it is none, or cannot be written down."""
    if not _is_number(value) or not 0 <= value <= _LARGEST:
        raise ValueError("no count")
    return int(value)


def numbers_of(told: Mapping[str, Any]) -> dict[str, float]:
    """What is a number among what a process tells."""
    found = [(key, value) for key, value in told.items() if key not in _NEVER and _is_number(value)]
    return {key: value for key, value in found[:MOST_NUMBERS] if len(key) <= MOST_NUMBERS and abs(value) <= _LARGEST}


def versions_of(told: Mapping[str, Any]) -> dict[str, str]:
    """The versions of libraries that a process tells."""
    return {str(key)[:MOST_NUMBERS]: str(value)[:MOST_NUMBERS] for key, value in list(told.items())[:MOST_NUMBERS]}


def error_of(message: Mapping[str, Any]) -> TuningError:
    """What a process says is wrong with its input."""
    param = message.get("param")
    code, told = str(message["code"])[:MOST_NUMBERS], str(message["message"])[:MOST_TOLD]
    return TuningError(code, told, None if param is None else str(param)[:MOST_NUMBERS])


def cause_of(status: int, complaint: str, code: str | None = None) -> TuningError:
    """Why a process broke off, as far as its status and its log tell; nothing of the log itself.

    Args:
        status: with which it ended, or `NODE_LOST`.
        complaint: the end of its log.
        code: that of the error where it was not even begun.
    """
    if code == NODE_UNREADY:
        return TuningError(code, "The node that had room for the job could not begin it.")
    if status == NODE_LOST:
        return TuningError("node_lost", "The node on which the job trained was lost.")
    said = complaint.lower()
    if "no space left" in said or "disk quota" in said:
        return TuningError("disk_full", "The disk of the server is full.")
    memory = ("memoryerror", "out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
    if status == -9 or any(each in said for each in memory):
        return TuningError(
            "out_of_memory",
            "The training needs more memory than there is; take a smaller batch_size, shorter examples or a smaller "
            "model.",
        )
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return TuningError("training_crashed", f"The training process ended unexpectedly {how}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
