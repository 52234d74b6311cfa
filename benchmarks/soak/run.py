"""A soak from its beginning to its report."""

import asyncio
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.soak import checking
from benchmarks.soak.callers import Crowd, Tally
from benchmarks.soak.checking import Books, Check
from benchmarks.soak.driving import Harm, closed_loop, kill_engines, open_loop, read_slowly, repeatedly
from benchmarks.soak.mixture import EVERYTHING, Mixture, plain
from benchmarks.soak.subject import Subject, subject
from benchmarks.soak.watching import Sample, Watch
from freehold.journal.records import utc

CALLERS: Final = 16
"""Of the closed loops."""
SLOW_READERS: Final = 8
"""At any time; two more than their key's limit lets in."""
KEPT_S: Final = 17.0
"""For longer than this no connection is kept that nobody uses."""
REST_S: Final = 120.0
"""So long it may take until everything is back where it was."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done.

    Args:
        minutes: how long the load lasts.
        load: its rate, by that of the closed loop before it.
        seed: of all choices.
        kill_s: how long there is between two kills of engines, on average.
        warm_s: how long the closed loop lasts, which finds the capacity and warms everything up.
        workers: how many processes take requests.
    """

    minutes: float = 30.0
    load: float = 0.7
    seed: int = 1
    kill_s: float = 10.0
    warm_s: float = 15.0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class ManyPlan:
    """What is done to see the memory over many requests: as fast as it goes, without kills.

    Args:
        requests: how many.
        disconnects: how many of them are left by their callers before the answer's end.
        seed, workers: as of `Plan`.
    """

    requests: int
    disconnects: int
    seed: int = 1
    workers: int = 1


@dataclass(slots=True)
class Report:
    """What a soak came to.

    Args:
        plan: what was to be done.
        rate: requests a second: of the load of a `Plan`, of the closed loop of a `ManyPlan`.
        capacity: requests a second of the closed loop before a load.
        seconds: how long the load lasted.
        harm: what was done to engines.
        dropped: requests that were due while too many ran.
        tally: what callers saw.
        samples: of the load, then of the rest.
        checks: what must be so.
    """

    plan: Plan | ManyPlan
    rate: float = 0.0
    capacity: float = 0.0
    seconds: float = 0.0
    harm: Harm = field(default_factory=Harm)
    dropped: int = 0
    tally: Tally = field(default_factory=Tally)
    samples: list[Sample] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """What is not as it must be, each with its figures."""
        return [f"{check.what}: {check.figures}" for check in self.checks if not check.holds]


async def soak(plan: Plan, folder: Path) -> Report:
    """Load a server for a while, harm its engines, and look what is left. The server and all else ends before."""
    report = Report(plan)
    async with subject(folder, workers=plan.workers) as server:
        watch = Watch(server)
        crowd = Crowd(server.place, report.tally)
        mixture = Mixture(server, plan.seed, EVERYTHING)
        _say(f"warming up for {plan.warm_s:g} s")
        report.capacity = await closed_loop(crowd, mixture, CALLERS, seconds=plan.warm_s)
        before = await _rest(server, watch, crowd, None)
        report.rate = plan.load * report.capacity
        _say(f"capacity {report.capacity:.0f} requests/s; {plan.minutes:g} minutes at {report.rate:.0f}/s")
        first = len(watch.samples)
        await _load(plan, report, server, watch, crowd)
        loaded = watch.samples[first:]
        after = await _rest(server, watch, crowd, before)
        report.checks += [checking.of_memory(loaded), *checking.of_rest(before, after)]
        limits = await _limits(server)
    await _conclude(report, server, watch, limits)
    return report


async def many(plan: ManyPlan, folder: Path) -> Report:
    """Ask as fast as it goes, and look at the memory."""
    report = Report(plan)
    async with subject(folder, workers=plan.workers) as server:
        watch = Watch(server)
        crowd = Crowd(server.place, report.tally)
        mixture = Mixture(server, plan.seed, plain(plan.requests, plan.disconnects))
        await closed_loop(crowd, mixture, CALLERS, requests=plan.requests // 100)
        before = await _rest(server, watch, crowd, None)
        started, first = time.monotonic(), len(watch.samples)
        for part in range(100):
            count = plan.requests * (part + 1) // 100 - plan.requests * part // 100
            report.rate = await closed_loop(crowd, mixture, CALLERS, requests=count)
            sample = await watch.look(report.tally.asks)
            _say(f"{sample.asks} requests, {report.tally.left} left: {sample.memory_mb:.1f} MB, {sample.open} open")
        report.seconds = time.monotonic() - started
        report.rate = report.capacity = plan.requests / report.seconds
        loaded = watch.samples[first:]
        after = await _rest(server, watch, crowd, before)
        report.checks += [checking.of_many_requests(loaded), *checking.of_rest(before, after)]
        limits = await _limits(server)
    await _conclude(report, server, watch, limits)
    return report


async def _load(plan: Plan, report: Report, server: Subject, watch: Watch, crowd: Crowd) -> None:
    """Drive the server at its rate, with slow readers beside, engines killed, and samples taken."""
    stop, seconds = asyncio.Event(), plan.minutes * 60
    mixture = Mixture(server, plan.seed + 1, EVERYTHING)
    random = Random(plan.seed)  # noqa: S311  # guards no secret

    async def look() -> None:
        sample = await watch.look(report.tally.asks)
        _say(
            f"{sample.at_s:.0f} s: {sample.asks} requests, {sample.memory_mb:.1f} MB, {sample.open} open, "
            f"{sample.in_flight} in flight, {report.tally.wrong_count} wrong"
        )

    async with asyncio.TaskGroup() as tasks:
        harming = tasks.create_task(kill_engines(server, random, plan.kill_s, stop))
        tasks.create_task(read_slowly(crowd, Mixture(server, plan.seed + 2, EVERYTHING), SLOW_READERS, stop))
        tasks.create_task(repeatedly(look, max(1.0, seconds / 300), stop))
        started = time.monotonic()
        report.dropped = await open_loop(crowd, mixture, report.rate, seconds=seconds)
        report.seconds = time.monotonic() - started
        stop.set()
    report.harm = harming.result()


async def _rest(server: Subject, watch: Watch, crowd: Crowd, before: Sample | None) -> Sample:
    """Wait until the server is at rest, and as it was before if that is given; if it never is, the last sample tells.

    Connections to engines and to other services are kept for a while, so the first rest is long.
    """
    await crowd.close()
    deadline = time.monotonic() + REST_S
    least, since = math.inf, 0.0
    while True:
        sample = await watch.look(crowd.tally.asks)
        if sample.open < least:
            least, since = sample.open, sample.at_s
        over = sample.at_s - since > KEPT_S and sample.at_rest and await server.ready()
        if before is not None:
            over = sample.at_rest and all(check.holds for check in checking.of_rest(before, sample))
        if over or time.monotonic() > deadline:
            return sample
        await asyncio.sleep(1.0)


async def _limits(server: Subject) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = (await server.get("/admin/limits"))["data"]
    return found


async def _conclude(report: Report, server: Subject, watch: Watch, limits: Sequence[dict[str, Any]]) -> None:
    """Look at the books once the server has ended."""
    _say("reading the journal")
    tally, log, journal = report.tally, server.log, server.home / "journal"
    books = await asyncio.to_thread(Books.read, journal, utc(time.time())[:7])
    report.samples, report.outcomes = watch.samples, dict(books.outcomes)
    told = "; ".join(tally.wrong)
    report.checks += [
        Check(
            "every answer is one that its request may have", not tally.wrong_count, f"{tally.wrong_count} wrong {told}"
        ),
        Check("the server could always be reached", not tally.unreachable, f"{tally.unreachable} times it could not"),
        *checking.of_receipts(books, tally, {name: key.id for name, key in server.keys.items()}),
        *checking.of_money(books, limits),
        checking.of_log(log),
        *await asyncio.to_thread(checking.of_commands, server.home, server.home / "soak.toml"),
    ]


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()
