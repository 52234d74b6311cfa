"""Freehold under a mixed load for a long time: callers who leave, slow readers, engines that are killed. Nothing leaks.

A server of its own with several deployments (one with two replicas, one before a mock of another service), limits,
budgets, content filter and journal is loaded at a share of its capacity by a seeded mixture of requests, good and bad.
When it is over every gauge must be back at zero, memory and descriptors where they were, and receipts equal requests;
what is held is printed, line by line. Ends with 1 where something is not so.

    python -m benchmarks.soak                                             30 minutes at 70 % load
    python -m benchmarks.soak --minutes 2 --seed 7 --json soak.json
    python -m benchmarks.soak --requests 1000000 --disconnects 100000     the memory, as fast as it goes
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.serving import machine
from benchmarks.soak.run import ManyPlan, Plan, Report, many, soak


def told(report: Report) -> str:
    """A report for people."""
    tally, harm = report.tally, report.harm
    kinds = sorted(tally.statuses.items(), key=lambda entry: -entry[1].total())
    lines = [
        machine(),
        f"{tally.asks} callers, {tally.left} of whom left; {tally.cut} streams ended with an error",
        f"{report.rate:.0f}/s in {report.seconds:.0f} s, capacity {report.capacity:.0f}; {report.dropped} not sent",
        f"engines: {harm.killed} killed, {harm.hung} hung",
        "receipts: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.outcomes.items())),
        "",
        *(
            f"  {kind:36} "
            + ", ".join(f"{count} x {status or 'none'}" for status, count in sorted(statuses.items()) if count)
            for kind, statuses in kinds
        ),
        "",
        *(f"{'held  ' if check.holds else 'FAILED'}  {check.what}: {check.figures}" for check in report.checks),
    ]
    return "\n".join(lines)


def as_json(report: Report) -> dict[str, Any]:
    """A report for programs."""
    tally = report.tally
    return {
        "machine": machine(),
        "plan": asdict(report.plan),
        "capacity": report.capacity,
        "rate": report.rate,
        "seconds": report.seconds,
        "engines": asdict(report.harm),
        "callers": {"all": tally.asks, "left": tally.left, "cut": tally.cut, "dropped": report.dropped},
        "statuses": {
            kind: {str(status): count for status, count in found.items()} for kind, found in tally.statuses.items()
        },
        "outcomes": report.outcomes,
        "checks": [asdict(check) for check in report.checks],
        "samples": [sample.as_json() for sample in report.samples],
    }


async def run(plan: Plan | ManyPlan) -> Report:
    """Do what is planned, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        return await (soak(plan, Path(folder)) if isinstance(plan, Plan) else many(plan, Path(folder)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long the load lasts")
    parser.add_argument("--load", type=float, default=0.7, help="its rate, by what a closed loop reached before")
    parser.add_argument(
        "--kill-every", type=float, default=10.0, help="seconds between two kills of engines, on average"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all choices")
    parser.add_argument("--workers", type=int, default=1, help="how many processes take requests")
    parser.add_argument("--requests", type=int, help="measure the memory over so many requests instead")
    parser.add_argument("--disconnects", type=int, default=0, help="so many of them are left by their callers")
    parser.add_argument("--json", type=Path, help="write the report there, with all samples")
    given = parser.parse_args()
    chosen: Plan | ManyPlan = Plan(
        given.minutes, given.load, given.seed, kill_s=given.kill_every, workers=given.workers
    )
    if given.requests is not None:
        if not 0 <= given.disconnects <= given.requests or given.requests < 100:
            parser.error("--requests takes a number of at least 100, --disconnects one of at most that")
        chosen = ManyPlan(given.requests, given.disconnects, given.seed, given.workers)
    found = uvloop.run(run(chosen))
    print(told(found))
    if given.json is not None:
        given.json.write_text(json.dumps(as_json(found), indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if found.failures else 0)
