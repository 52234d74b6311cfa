"""The simulator's own speed, and the plots of docs/how-to/size-a-cluster.md.

python -m benchmarks.simulation hour               # 10,000 devices, a million requests, one hour
python -m benchmarks.simulation seeds --count 1000 # small worlds by chance, every invariant after every event
python -m benchmarks.simulation plots              # what the how-to page shows
"""

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from freehold.simulation.chart import chart_of
from freehold.simulation.report import report_of
from freehold.simulation.scenario import Scenario, load_scenario
from freehold.simulation.trial import simulate
from freehold.simulation.world import World
from tests.simulation.worlds import checked, small_world

FOLDER: Final = Path(__file__).parent.parent / "docs" / "benchmarks"
SEEDS: Final = (1, 2, 3)
REPLICAS: Final = (1, 2, 3, 4, 5, 6)
CHECKPOINTS_MIN: Final = (5, 15, 30, 60, 120)
COLOURS: Final = ("#3b6fb6", "#c2571a", "#3d8b40")
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "freehold",
    "font.size": 9,
    "font.family": "sans-serif",
}


def hour() -> None:
    """One hour of ten thousand devices: how long that takes, and what came of it."""
    world = World(load_scenario("supercomputer"))
    began, began_cpu = time.perf_counter(), time.process_time()
    tally = world.run()
    took, took_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    requests = sum(tally.arrived.values())
    print(f"{requests:,} requests, {tally.jobs.submitted:,} jobs, {tally.events:,} events, {tally.outages} outage")
    print(f"{took:.1f} s, {took_cpu:.1f} s of processor time: {took_cpu / requests * 1e6:.0f} us a request")
    report = report_of(world)
    print({name: of["finished"] for name, of in report["requests"].items()}, report["utilization"])


def seeds(first: int, count: int, processes: int) -> int:
    """Small worlds by chance, looked at after every event; how many did not hold an invariant."""
    began, began_cpu = time.perf_counter(), time.process_time()
    total: Counter[str] = Counter()
    broken = 0
    with ProcessPoolExecutor(processes) as pool:
        for seed, violations, counts in pool.map(_small, range(first, first + count), chunksize=10):
            total.update(counts)
            broken += bool(violations)
            for each in violations:
                print(f"seed {seed}: {each}")
    took, took_cpu = time.perf_counter() - began, total.pop("cpu_us") / 1e6 + time.process_time() - began_cpu
    print(f"{count} seeds from {first}: {broken} violated an invariant; {took:.0f} s, {took_cpu:.0f} s processor time")
    print(dict(sorted(total.items())))
    return broken


def _small(seed: int) -> tuple[int, list[str], dict[str, int]]:
    began_cpu = time.process_time()
    checker = checked(small_world(seed))
    tally = checker.run()
    counts: Counter[str] = Counter(events=tally.events, node_failures=tally.node_failures, outages=tally.outages)
    for outcomes in tally.outcomes.values():
        counts.update({f"requests {outcome.value}": number for outcome, number in outcomes.items()})
    jobs = tally.jobs
    counts.update({f"jobs {name}": getattr(jobs, name) for name in ("submitted", "finished", "preempted", "broken")})
    counts["cpu_us"] = round((time.process_time() - began_cpu) * 1e6)
    return seed, [str(each) for each in checker.violations], dict(counts)


def plots(processes: int) -> None:
    """The files of the how-to page."""
    with mpl.rc_context(_SETTINGS), ProcessPoolExecutor(processes) as pool:
        _save(_replicas(pool), FOLDER / "simulation-replicas.svg")
        _save(_checkpoints(pool), FOLDER / "simulation-checkpoints.svg")
    (FOLDER / "simulation-department.svg").write_bytes(chart_of(simulate(load_scenario("department"), 1)) + b"\n")


def _day(scenario: Scenario) -> Scenario:
    """The eight busiest hours of a scenario's day."""
    return scenario.model_copy(update={"hours": 8.0, "starts_at": scenario.starts_at.replace(hour=10)})


def _replicas(pool: ProcessPoolExecutor) -> Figure:
    """Waiting against the number of replicas, and what is left for research."""
    base = _day(load_scenario("department"))
    worlds = [(_with_replicas(base, count), seed) for count in REPLICAS for seed in SEEDS]
    found = _by(REPLICAS, list(pool.map(_simulate, worlds)))
    figure = Figure(figsize=(7, 3), layout="constrained")
    waits, research = figure.subplots(1, 2)
    for path, name, colour in (
        (("requests", "product", "first_token_s", "p95"), "p95", COLOURS[0]),
        (("requests", "product", "first_token_s", "p50"), "median", COLOURS[1]),
    ):
        _band(waits, REPLICAS, found, path, name, colour)
    waits.set_yscale("log")
    waits.set_xlabel("replicas of chat")
    waits.set_ylabel("first token, s")
    waits.legend(frameon=False)
    _band(research, REPLICAS, found, ("jobs", "worked_unit_h"), "", COLOURS[2])
    research.set_xlabel("replicas of chat")
    research.set_ylabel("research in eight hours, device-hours")
    research.set_ylim(bottom=0)
    _rows(("replicas", "p50", "p95", "left", "research"), REPLICAS, found, (
        ("requests", "product", "first_token_s", "p50"), ("requests", "product", "first_token_s", "p95"),
        ("requests", "product", "gave_up"), ("jobs", "worked_unit_h"),
    ))  # fmt: skip
    return figure


def _checkpoints(pool: ProcessPoolExecutor) -> Figure:
    """Work that is lost to failing nodes against the time between checkpoints."""
    base = load_scenario("supercomputer")
    worlds = [(_with_checkpoints(base, minutes), seed) for minutes in CHECKPOINTS_MIN for seed in SEEDS]
    found = _by(CHECKPOINTS_MIN, list(pool.map(_simulate, worlds)))
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    _band(axes, CHECKPOINTS_MIN, found, ("jobs", "lost_share"), "", COLOURS[2])
    axes.set_xlabel("minutes between checkpoints")
    axes.set_ylabel("lost, % of the work done")
    axes.set_ylim(bottom=0)
    _rows(("minutes", "lost, %", "node failures"), CHECKPOINTS_MIN, found, (
        ("jobs", "lost_share"), ("cluster", "node_failures"),
    ))  # fmt: skip
    return figure


def _with_replicas(scenario: Scenario, count: int) -> Scenario:
    """The product's deployment with so many replicas, and no others."""
    deployments = [
        each.model_copy(update={"replicas": count, "autoscale": None})
        for each in scenario.deployment
        if each.name == "chat"
    ]
    callers = [caller for caller in scenario.caller if caller.deployment == "chat"]
    return scenario.model_copy(update={"deployment": deployments, "caller": callers})


def _with_checkpoints(scenario: Scenario, minutes: int) -> Scenario:
    """Two days of research alone, with so many minutes between two checkpoints."""
    jobs = [job.model_copy(update={"checkpoint_every_s": minutes * 60.0}) for job in scenario.job if job.at_start <= 60]
    return scenario.model_copy(
        update={"hours": 48.0, "job": jobs, "deployment": [], "caller": [], "outage": [], "limit": []}
    )


def _simulate(given: tuple[Scenario, int]) -> dict[str, Any]:
    report = simulate(*given)
    jobs = report["jobs"]
    jobs["lost_share"] = 100 * jobs["lost_unit_h"] / max(jobs["worked_unit_h"], 1e-9)
    return {**report, "series": []}


def _by(values: Sequence[int], reports: Sequence[dict[str, Any]]) -> dict[int, Sequence[dict[str, Any]]]:
    """The reports of each value, one for each seed."""
    return {value: reports[index * len(SEEDS) : (index + 1) * len(SEEDS)] for index, value in enumerate(values)}


def _band(
    axes: Axes, values: Sequence[int], found: Mapping[int, Sequence[Any]], path: Sequence[str], name: str, colour: str
) -> None:
    """The mean over the seeds as a line, and the extremes as a band."""
    figures = [[_at(report, path) for report in found[value]] for value in values]
    axes.plot(values, [fmean(each) for each in figures], marker="o", markersize=3, color=colour, label=name)
    lower, upper = [min(each) for each in figures], [max(each) for each in figures]
    axes.fill_between(values, lower, upper, color=colour, alpha=0.2, linewidth=0)


def _rows(
    names: Sequence[str], values: Sequence[int], found: Mapping[int, Sequence[Any]], paths: Sequence[Sequence[str]]
) -> None:
    print(" | ".join(names))
    for value in values:
        means = (fmean(_at(report, path) for report in found[value]) for path in paths)
        print(" | ".join((str(value), *(f"{mean:.4g}" for mean in means))))


def _at(report: Any, path: Sequence[str]) -> float:
    for name in path:
        report = report[name]
    return float(report)


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.read_text(encoding="utf-8")
    file.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def main() -> None:
    """Run the part that was asked for."""
    parser = argparse.ArgumentParser(description="The simulator's own speed, and the plots of its how-to page.")
    parser.add_argument("part", choices=("hour", "seeds", "plots"))
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--count", type=int, default=1000, help="how many seeds")
    parser.add_argument("--processes", type=int, default=2, help="how many run at once")
    given = parser.parse_args()
    if given.part == "hour":
        hour()
    elif given.part == "plots":
        plots(given.processes)
    elif seeds(given.first, given.count, given.processes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
