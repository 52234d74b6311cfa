"""Freehold beside its peers, on this machine, in one run: makes the first part of docs/benchmarks.md.

Installs the peers into environments of their own under a cache folder, starts them, the mock upstream and Freehold with
everything on, measures them in turn, and writes docs/benchmarks/results.json, the plots beside it and the tables.

    python -m benchmarks.speed                        everything: about half an hour; let the machine do nothing else
    python -m benchmarks.speed --quick --out /tmp/x   a short form, to see that it works
    python -m benchmarks.speed --only gateways --gateways bare,freehold
    python -m benchmarks.speed --page                 only write tables and plots anew from results.json
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.serving import machine
from benchmarks.speed import engines, gateways
from benchmarks.speed.contenders import GATEWAYS
from benchmarks.speed.page import write_page
from benchmarks.speed.plots import write_plots
from freehold.catalog.catalog import Catalog
from freehold.config import CatalogSettings
from freehold.store.database import Database

ROOT: Final = Path(__file__).parent.parent.parent
PARTS: Final = ("gateways", "engines")


async def measure(given: argparse.Namespace, keep: Callable[[str, dict[str, Any]], None]) -> None:
    """Measure the parts that were asked for, and keep each as it stands in the file of results."""
    if "gateways" in given.only:
        plan = gateways.Plan(gateways=given.gateways)
        if given.quick:
            plan = gateways.Plan(rounds=2, seconds=1, rates=(50, 500), gateways=given.gateways)
        plan = replace(plan, rounds=given.rounds or plan.rounds)
        keep("gateways", (await gateways.measure(plan, given.cache)).as_json())
    if "engines" in given.only:
        weights = given.weights or await starter(given.cache)
        runs = engines.Plan(runners=given.engines)
        if given.quick:
            runs = engines.Plan(rounds=1, streams=(1, 4), tokens=16, runners=given.engines)
        runs = replace(runs, rounds=given.rounds or runs.rounds)
        keep("engines", (await engines.measure(runs, weights)).as_json())


async def starter(cache: Path) -> Path:
    """The starter model's file, fetched into the cache if it is not there."""
    (cache / "models").mkdir(exist_ok=True)
    database = await Database.open(cache / "models" / "freehold.db")
    try:
        catalog = Catalog(database, cache / "models" / "files", CatalogSettings())
        return catalog.path(await catalog.pull(engines.MODEL))
    finally:
        await database.close()


def circumstances(argv: Sequence[str]) -> dict[str, Any]:
    """When, where and of what was measured."""

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no", "src", "benchmarks") else ""
    return {
        "command": shlex.join(["python", "-m", "benchmarks.speed", *argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": (git("rev-parse", "--short=10", "HEAD") or "unknown") + changed,
        "machine": machine(),
    }


def main(argv: Sequence[str]) -> None:
    """Measure, write results, plots and page."""
    given = _parse(argv)
    out: Path = given.out
    file = out / "results.json"
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def keep(part: str, new: dict[str, Any]) -> None:
        nonlocal results
        results = {**{each: results[each] for each in PARTS if each in results}, **circumstances(argv), part: new}
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    if not given.page:
        given.cache.mkdir(parents=True, exist_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        uvloop.run(measure(given, keep))
    write_plots(out, results)
    if out == ROOT / "docs" / "benchmarks":
        write_page(ROOT / "docs" / "benchmarks.md", results)
    sys.stderr.write(f"written: {file}\n")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few and short rounds; for trying, not for figures")
    parser.add_argument("--rounds", type=int, help="instead of as many as are usual")
    parser.add_argument("--only", type=_listed(PARTS), default=PARTS, help=f"of {','.join(PARTS)}")
    parser.add_argument("--gateways", type=_listed(tuple(GATEWAYS)), default=tuple(GATEWAYS))
    parser.add_argument("--engines", type=_listed(tuple(engines.RUNNERS)), default=tuple(engines.RUNNERS))
    parser.add_argument("--weights", type=Path, help="a GGUF file instead of the starter model")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "peers", help="where peers are installed")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks", help="where results and plots go")
    parser.add_argument("--page", action="store_true", help="measure nothing; write from the results that are there")
    given = parser.parse_args(argv)
    given.cache, given.out = given.cache.absolute(), given.out.absolute()
    return given


def _listed(known: tuple[str, ...]) -> Any:
    """What reads a list of names, each of which must be known."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no '{name}'; there are: {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    main(sys.argv[1:])
