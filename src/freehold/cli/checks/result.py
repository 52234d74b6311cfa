"""What the checks of `freehold doctor` work on, and what they find."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Verdict(StrEnum):
    """How it looks: fine, fine but worth knowing, or in need of mending."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Args:
        check: what was looked at.
        verdict: how it looks.
        found: what was found.
        mend: what to do about it; empty where nothing is to be done.
    """

    check: str
    verdict: Verdict
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """A model of the catalog to try an engine on."""

    name: str
    file: Path


def ok(check: str, found: str) -> Finding:
    """A finding that needs nothing."""
    return Finding(check, Verdict.OK, found)


def warn(check: str, found: str, mend: str) -> Finding:
    """A finding that somebody should know of."""
    return Finding(check, Verdict.WARN, found, mend)


def fail(check: str, found: str, mend: str) -> Finding:
    """A finding that keeps Freehold from working."""
    return Finding(check, Verdict.FAIL, found, mend)
