"""What must be so of a home whose server has ended, whatever happened to it: told from its files alone."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.forked import freehold


def records(home: Path) -> list[dict[str, Any]]:
    """Every record of the journal, in order; a torn last line is left out."""
    found: list[dict[str, Any]] = []
    for segment in sorted((home / "journal" / "main").glob("*.jsonl")):
        found += [json.loads(line) for line in segment.read_bytes().split(b"\n")[:-1]]
    return found


def receipts(home: Path) -> list[dict[str, Any]]:
    """The bodies of all receipts."""
    return [record["body"] for record in records(home) if record["kind"] == "receipt"]


def check_receipts(home: Path, whole: Iterable[str]) -> None:
    """Every request has one receipt: those that were answered whole, and those that were admitted."""
    everything = records(home)
    counts = Counter(record["body"]["request_id"] for record in everything if record["kind"] == "receipt")
    twice = [request_id for request_id, count in counts.items() if count > 1]
    assert not twice, f"two receipts: {twice}"
    missing = [request_id for request_id in whole if counts[request_id] != 1]
    assert not missing, f"answered without a receipt: {missing}"
    open_ = {r["body"]["request_id"] for r in everything if r["kind"] == "admitted"} - set(counts)
    assert not open_, f"admitted and never settled: {open_}"
    finished = {body["request_id"] for body in receipts(home) if body["outcome"] == "finished"}
    assert set(whole) <= finished, "an answer that arrived whole is recorded as finished"


def check_verified(home: Path) -> None:
    """The verifier finds nothing wrong."""
    done = freehold(home, "audit", "verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr


def check_reconciled(home: Path) -> None:
    """Journal, usage database and rollups agree."""
    done = freehold(home, "reconcile", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
