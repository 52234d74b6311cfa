"""The regression guard: how much of the bare pass-through's speed is left with everything on, in processor time.

Wall times say more about the machine than about the program. So the gateway and the bare pass-through stand before one
upstream, are asked in turn, and what counts is the processor time of each process for a request, and the quotient of
the two in one run: it falls when the gateway has more to do, on any machine. A test holds it near the stored one.

    python -m benchmarks.speed.guard            measure, and compare with benchmarks/baseline.json
    python -m benchmarks.speed.guard --renew    store what is measured; do so on a machine that does nothing else
"""

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import processor_s
from benchmarks.speed.contenders import Contender, bare, freehold, upstream
from benchmarks.speed.gateways import load_of
from benchmarks.speed.rounds import Samples, Summary, in_turn
from freehold.cli.bench_load import closed_loop

BASELINE: Final = Path(__file__).parent.parent / "baseline.json"
LEAST_SHARE: Final = 0.75
"""The guard fails when a quarter of the stored quotient is lost."""
CONNECTIONS: Final = 8
MEASURES: Final = {"whole answers": False, "streams": True}
"""What is asked for, and whether it is a stream."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: requests a round to each of the two, and rounds."""

    requests: int = 1500
    rounds: int = 7


async def quotients(effort: Effort) -> dict[str, Summary]:
    """By measure: the bare pass-through's processor time for a request by the gateway's, median of the rounds."""
    samples = Samples()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fh")))
        url, _ = await stack.enter_async_context(upstream(folder))
        (plain,) = await stack.enter_async_context(bare(url, folder, folder))
        gateway, _ = await stack.enter_async_context(freehold(url, folder, folder))
        both = {plain.name: plain, gateway.name: gateway}
        for contender in both.values():
            await _spent(contender, effort.requests // 3)
        for _, name in in_turn(list(both), effort.rounds):
            samples.add(name, await _spent(both[name], effort.requests))
    found = {measure: samples.ratio(plain.name, gateway.name, measure) for measure in MEASURES}
    return {measure: summary for measure, summary in found.items() if summary is not None}


async def _spent(contender: Contender, requests: int) -> dict[str, float]:
    """Processor seconds for a request of each measure. Raises SystemExit where an answer was not good."""
    found = {}
    for measure, stream in MEASURES.items():
        before = processor_s(contender.pid)
        tally = await closed_loop(load_of(contender, stream=stream), CONNECTIONS, seconds=120, most=requests)
        if tally.failed or tally.good < requests:
            raise SystemExit(f"{contender.name}: {tally.statuses} {tally.errors}, {tally.broken} broken streams")
        found[measure] = (processor_s(contender.pid) - before) / tally.good
    return found


def stored() -> dict[str, float]:
    """The quotients that were stored, by measure."""
    kept: dict[str, float] = json.loads(BASELINE.read_text(encoding="utf-8"))["quotients"]
    return kept


def lost(found: dict[str, Summary], kept: dict[str, float]) -> list[str]:
    """A line for each measure that fell below its least share of the stored quotient."""
    return [
        f"{measure}: the bare pass-through's processor time is {found[measure].median:.3f} of the gateway's "
        f"({found[measure].low:.3f} to {found[measure].high:.3f}); {value:.3f} is stored and at least "
        f"{value * LEAST_SHARE:.3f} demanded. Find what became slower, or store a new value if it is worth it."
        for measure, value in kept.items()
        if found[measure].median < value * LEAST_SHARE
    ]


def main(*, renew: bool, effort: Effort) -> int:
    """Measure, print, compare or store; the exit status."""
    found = asyncio.run(quotients(effort))
    for measure, summary in found.items():
        print(f"{measure:14} {summary.median:.3f} ({summary.low:.3f} to {summary.high:.3f})")
    if renew:
        kept = {measure: round(summary.median, 3) for measure, summary in found.items()}
        BASELINE.write_text(json.dumps({"quotients": kept}, indent=2) + "\n", encoding="utf-8")
        return 0
    problems = lost(found, stored())
    print("\n".join(problems) or "no quarter of the stored quotients is lost")
    return 1 if problems else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true")
    parser.add_argument("--rounds", type=int, default=Effort().rounds)
    parser.add_argument("--requests", type=int, default=Effort().requests)
    given = parser.parse_args()
    sys.exit(main(renew=given.renew, effort=Effort(given.requests, given.rounds)))
