"""The gateways in turn, before one upstream that answers at once: requests and streams a second, added time, memory."""

import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import family_mb, processor_s
from benchmarks.speed.contenders import GATEWAYS, PATH, Contender, upstream, wrk
from benchmarks.speed.rounds import Samples, in_turn
from benchmarks.speed.upstream import STREAM_TEXT
from benchmarks.speed.wrk import drive
from freehold.cli.bench_load import Load, Tally, closed_loop, open_loop, percentile

CONNECTIONS: Final = (1, 16)
STREAMS_AT_ONCE: Final = 10
PROMPT: Final = "Say hello to our neighbours, please."
HELD: Final = 0.9
"""An open loop is run at rates up to this share of what the closed loop reached: above, a queue only grows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        rounds: how often each contender has its turn.
        seconds: of each measurement.
        rates: of the open loops, requests a second.
        gateways: which, of `GATEWAYS`.
    """

    rounds: int = 7
    seconds: float = 3.0
    rates: tuple[int, ...] = (50, 500, 2000)
    gateways: tuple[str, ...] = tuple(GATEWAYS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Samples by contender, and who the contenders are."""

    contenders: tuple[Contender, ...]
    samples: Samples
    generator: str
    plan: Plan

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return {
            "generator": self.generator,
            "rounds": self.plan.rounds,
            "seconds": self.plan.seconds,
            "streams_at_once": STREAMS_AT_ONCE,
            "contenders": [{"name": c.name, "version": c.version, "does": c.does} for c in self.contenders],
            "samples": self.samples.values,
        }


async def measure(plan: Plan, cache: Path) -> Outcome:
    """Start all, measure them in turn, end them."""
    samples = Samples()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fh")))
        url, mock = await stack.enter_async_context(upstream(folder))
        contenders = [mock]
        for name in plan.gateways:
            contenders += await stack.enter_async_context(GATEWAYS[name](url, cache, folder))
        named = {contender.name: contender for contender in contenders}
        for contender in contenders:
            await _warm(contender)
        for number, name in in_turn(list(named), plan.rounds):
            sys.stderr.write(f"round {number + 1} of {plan.rounds}: {name}\n")
            samples.add(name, await _turn(named[name], plan, folder))
    return Outcome(tuple(contenders), samples, "wrk" if wrk() else "freehold.cli.bench_load", plan)


async def _warm(contender: Contender) -> None:
    """Let it load what it loads with the first requests; hold that it answers."""
    for stream in (False, True)[: 1 + contender.streams]:
        tally = await closed_loop(load_of(contender, stream=stream), 4, seconds=1.0)
        if not tally.good or tally.failed:
            raise SystemExit(f"{contender.name} does not answer as it should: {tally.statuses} {tally.errors}")


def _body(contender: Contender, *, stream: bool) -> dict[str, Any]:
    body = {"model": contender.model, "messages": [{"role": "user", "content": PROMPT}]}
    return {**body, "stream": True} if stream else body


def load_of(contender: Contender, *, stream: bool) -> Load:
    """What is asked of a contender: a whole answer or a stream."""
    request = contender.place.request(PATH, _body(contender, stream=stream), contender.headers)
    return Load(contender.place, request, stream, STREAM_TEXT.encode() if stream else None)


async def _turn(contender: Contender, plan: Plan, folder: Path) -> Mapping[str, float | None]:
    """One contender's measures of one round. Times are milliseconds, processor times microseconds."""
    found: dict[str, float | None] = {}
    for connections in CONNECTIONS:
        found |= await _closed(contender, connections, plan.seconds, folder)
    if contender.streams:
        before = processor_s(contender.pid)
        tally = await closed_loop(load_of(contender, stream=True), STREAMS_AT_ONCE, seconds=plan.seconds)
        spent = processor_s(contender.pid) - before
        found |= {
            "streams/s": tally.per_second,
            "first frame ms": percentile(tally.firsts, 0.5) * 1000,
            "stream p50 ms": percentile(tally.durations, 0.5) * 1000,
            "stream cpu us": spent / max(1, tally.good) * 1e6,
            "streams failed or with lost text": float(tally.failed),
        }
    for rate in plan.rates:
        able = (found[f"requests/s at {CONNECTIONS[-1]}"] or 0) * HELD >= rate
        held = await open_loop(load_of(contender, stream=False), rate, seconds=plan.seconds) if able else Tally()
        found |= {
            f"open {rate}/s p50 ms": percentile(held.durations, 0.5) * 1000 if able else None,
            f"open {rate}/s p99 ms": percentile(held.durations, 0.99) * 1000 if able else None,
            f"open {rate}/s failed": float(held.failed) if able else None,
        }
    return found | {"memory MB": family_mb(contender.pid)}


async def _closed(contender: Contender, connections: int, seconds: float, folder: Path) -> dict[str, float | None]:
    """A closed loop of whole answers, by wrk where it is installed."""
    program = wrk()
    before = processor_s(contender.pid)
    if program is not None:
        body = _body(contender, stream=False)
        run = await drive(
            program,
            contender.place,
            PATH,
            body,
            contender.headers,
            connections=connections,
            seconds=seconds,
            folder=folder,
        )
        rate, p50, p99, count, failed = run.per_second, run.p50_ms, run.p99_ms, run.requests, run.failed
    else:
        tally = await closed_loop(load_of(contender, stream=False), connections, seconds=seconds)
        rate, count, failed = tally.per_second, tally.good + tally.failed, tally.failed
        p50, p99 = (percentile(tally.durations, share) * 1000 for share in (0.5, 0.99))
    return {
        f"requests/s at {connections}": rate,
        f"p50 ms at {connections}": p50,
        f"p99 ms at {connections}": p99,
        f"cpu us at {connections}": (processor_s(contender.pid) - before) / max(1, count) * 1e6,
        f"failed at {connections}": float(failed),
    }
