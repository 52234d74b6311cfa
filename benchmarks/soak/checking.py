"""What must be so when a soak is over, told from what callers saw, from samples, and from the journal's own lines."""

import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.soak.callers import Tally
from benchmarks.soak.watching import Sample
from freehold.types.money import micro_from_decimal

STEADY: Final = 0.10
"""By so much of its early value the memory may differ from it."""
MORE_FILES: Final = 6
"""So many more files than after the warm-up may be open in the end: a pool of a database opens them when many ask at
once for the first time."""
MORE_SOCKETS: Final = 4
"""Likewise of sockets, pipes and others: an engine's probes use connections in turn and so keep a second one, which
requests had opened; and one is the sampler's own."""
MORE_THREADS: Final = 8
"""Likewise of threads."""
DEFECTS: Final = (
    '"defect"',
    "Traceback",
    "never retrieved",
    "never awaited",
    "unclosed",
    "replica_defect",
    "Exception",
)
"""What the server's log has none of: errors that nobody expected."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so: what, whether it is, and with which figures."""

    what: str
    holds: bool
    figures: str


@dataclass(slots=True)
class Books:
    """What a journal says of requests.

    Args:
        receipts: by request id: the status.
        by_key: how many of each key.
        cost: by subject of a limit (`scope:id`), the micro-units of one month.
        admitted: ids of those that were admitted.
        twice: ids that have two receipts.
        outcomes: how often each.
        unfinished: ids whose outcome is another one than `finished`.
    """

    receipts: dict[bytes, int] = field(default_factory=dict)
    by_key: Counter[str | None] = field(default_factory=Counter)
    cost: Counter[str] = field(default_factory=Counter)
    admitted: set[bytes] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    unfinished: set[bytes] = field(default_factory=set)

    @classmethod
    def read(cls, journal: Path, month: str) -> "Books":
        """Of the folder of one writer or of several; `month` as in `2026-11`."""
        books = cls()
        for record in _records(journal):
            if record["kind"] == "admitted":
                books.admitted.add(_name(record["body"]["request_id"]))
            elif record["kind"] == "receipt":
                books.add(record["body"], month)
        return books

    def add(self, body: Mapping[str, Any], month: str) -> None:
        """Count a receipt."""
        name = _name(body["request_id"])
        if name in self.receipts:
            self.twice.add(body["request_id"])
        self.receipts[name] = body["status"]
        self.by_key[body.get("key_id")] += 1
        self.outcomes[body["outcome"]] += 1
        if body["outcome"] != "finished":
            self.unfinished.add(name)
        cost = body.get("cost_micro", 0)
        if cost and body["started_at"].startswith(month):
            for scope in ("organization", "project", "key"):
                self.cost[f"{scope}:{body[f'{scope}_id']}"] += cost


def _records(journal: Path) -> Iterator[dict[str, Any]]:
    for segment in sorted(journal.glob("*/*.jsonl")):
        with segment.open("rb") as lines:
            yield from map(orjson.loads, lines)


def _name(request_id: str) -> bytes:
    return bytes.fromhex(request_id.removeprefix("req_"))


def of_receipts(books: Books, tally: Tally, keys: Mapping[str, str]) -> list[Check]:
    """Receipts equal requests.

    Args:
        books: the journal.
        tally: what the callers did and saw.
        keys: by its name, the id of each key.
    """
    missing = [name for name in tally.answered.keys() | tally.seen if name not in books.receipts]
    other = [
        name
        for name, status in tally.answered.items()
        if name not in tally.cut_ids and books.receipts.get(name, status) != status
    ]
    unfinished = [
        name
        for name, status in tally.answered.items()
        if status == 200 and (name in books.unfinished) != (name in tally.cut_ids)
    ]
    checks = [
        Check("no request has two receipts", not books.twice, f"{len(books.receipts)} receipts"),
        Check(
            "each answer with a request's id has its receipt",
            not missing,
            f"{len(tally.answered)} read whole, {len(tally.seen)} in part; {len(missing)} missing",
        ),
        Check("a receipt has the status that the caller saw", not other, f"{len(other)} differ"),
        Check(
            "what was read whole is recorded as finished, and a stream that ended with an error is not",
            not unfinished,
            f"{len(unfinished)} differ",
        ),
        Check(
            "what was admitted has a receipt",
            books.admitted <= books.receipts.keys(),
            f"{len(books.admitted)} admitted, {len(books.admitted - books.receipts.keys())} without",
        ),
    ]
    for name, key_id in keys.items():
        least, most, found = tally.least[name], tally.most[name], books.by_key[key_id]
        sent = str(least) if least == most else f"{least} to {most}"
        checks.append(
            Check(
                f"receipts of the key '{name}' equal the requests sent with it",
                least <= found <= most,
                f"{found} receipts, {sent} requests",
            )
        )
    return checks


def of_money(books: Books, limits: Sequence[Mapping[str, Any]]) -> list[Check]:
    """What is settled of each budget is the sum of the receipts that count on it, and nothing is reserved."""
    checks = []
    for limit in limits:
        used, subject = limit["used"], f"{limit['scope']}:{limit['id']}"
        if used is None:
            continue
        spent = micro_from_decimal(used["budget_per_month"])
        reserved = micro_from_decimal(used["budget_per_month_reserved"])
        running = used["concurrent_requests"]
        holds = spent == books.cost[subject] and not reserved and not running
        figures = f"settled {spent}, receipts {books.cost[subject]}, reserved {reserved} micro-units; {running} running"
        checks.append(Check(f"the budget of {limit['scope']} {limit['id']} is what its receipts cost", holds, figures))
    return checks


def of_memory(samples: Sequence[Sample]) -> Check:
    """The memory of the last fifth of the samples is within ±10 % of that of the second; the first is warm-up."""
    fifth = max(1, len(samples) // 5)
    early = statistics.median(sample.memory_mb for sample in samples[fifth : 2 * fifth] or samples)
    late = statistics.median(sample.memory_mb for sample in samples[-fifth:])
    return Check(
        f"memory is flat within ±{STEADY:.0%}",
        abs(late - early) <= STEADY * early,
        f"{early:.1f} MB in the second fifth, {late:.1f} MB in the last ({late / early - 1:+.1%})",
    )


def of_many_requests(samples: Sequence[Sample]) -> Check:
    """Behind the first 5 % of the requests, every sample's memory is within ±10 % of what it was there."""
    total = samples[-1].asks
    behind = [sample for sample in samples if sample.asks >= 0.05 * total]
    base = behind[0].memory_mb
    low, high = (choose(sample.memory_mb for sample in behind) for choose in (min, max))
    return Check(
        f"memory is flat within ±{STEADY:.0%} behind the first 5 % of the requests",
        base * (1 - STEADY) <= low and high <= base * (1 + STEADY),
        f"{base:.1f} MB after {behind[0].asks} requests, then {low:.1f} to {high:.1f} MB until {total}",
    )


def of_rest(before: Sample, after: Sample) -> list[Check]:
    """Nothing is left running, reserved or open."""
    return [
        Check(
            "at rest nothing runs, waits, is lent or reserved, no connection is half closed, usage has all records",
            after.at_rest,
            f"in flight {after.in_flight}, lent {after.lent}, grants {after.grants}, lag {after.lag}, "
            f"CLOSE_WAIT {after.close_wait}",
        ),
        Check(
            "descriptors are back to what they were after the warm-up",
            after.open - after.files <= before.open - before.files + MORE_SOCKETS
            and after.files <= before.files + MORE_FILES,
            f"{before.open} {dict(before.descriptors)}, then {after.open} {dict(after.descriptors)}",
        ),
        Check(
            "threads are back to what they were after the warm-up",
            after.threads <= before.threads + MORE_THREADS,
            f"{before.threads}, then {after.threads}",
        ),
    ]


def of_log(log: Path) -> Check:
    """The server's log tells of no defect."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [line for line in lines if any(word in line for word in DEFECTS)]
    return Check(
        "the server's log has no defect", not found, f"{len(lines)} lines" + "".join(f"; {f}" for f in found[:3])
    )


def of_commands(home: Path, config: Path) -> list[Check]:
    """What `freehold audit verify` and `freehold reconcile` say of the home once the server has ended."""
    checks = []
    for command in (("audit", "verify"), ("reconcile",)):
        argv = [sys.executable, "-m", "freehold", *command, "--json", "--home", str(home)]
        if command == ("reconcile",):
            argv += ["--config", str(config)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        said = done.stderr.strip()[-500:] if done.returncode else _told(json.loads(done.stdout))
        checks.append(Check(f"freehold {' '.join(command)} finds nothing wrong", done.returncode == 0, said))
    return checks


def _told(found: Mapping[str, Any]) -> str:
    reports = found.get("data", [found])
    return ", ".join(f"{sum(report[name] for report in reports)} {name}" for name in ("records", "receipts"))
