"""One simulation from a scenario to its report, and several with different seeds."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import fmean
from typing import Any

from freehold.simulation.invariants import Checker
from freehold.simulation.report import report_of
from freehold.simulation.scenario import Scenario
from freehold.simulation.world import World


def simulate(scenario: Scenario, seed: int, *, check: bool = False) -> dict[str, Any]:
    """Run a scenario; its report.

    Args:
        scenario: what it begins with.
        seed: of all that is left to chance.
        check: whether to look after every event if all invariants hold; `violations` of the report says which did not.
    """
    world = World(scenario, seed)
    if not check:
        world.run()
        return report_of(world)
    checker = Checker(world)
    checker.run()
    return {**report_of(world), "violations": [str(each) for each in checker.violations]}


def simulate_many(
    scenario: Scenario, seeds: Sequence[int], *, check: bool = False, processes: int = 1
) -> Iterator[dict[str, Any]]:
    """Run a scenario with each seed, several at once in processes of their own; the reports in the seeds' order."""
    if processes == 1 or len(seeds) == 1:
        yield from (simulate(scenario, seed, check=check) for seed in seeds)
        return
    with ProcessPoolExecutor(min(processes, len(seeds))) as pool:
        yield from pool.map(_one, ((scenario, seed, check) for seed in seeds))


def _one(given: tuple[Scenario, int, bool]) -> dict[str, Any]:
    scenario, seed, check = given
    return simulate(scenario, seed, check=check)


def summary_of(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the same scenario's reports, each figure's mean and extremes: of every number but those over time."""
    found: dict[str, list[float]] = {}
    for report in reports:
        for path, value in _numbers(report):
            found.setdefault(path, []).append(value)
    return {
        "object": "simulation.summary",
        "scenario": reports[0]["scenario"],
        "seeds": [report["seed"] for report in reports],
        "violations": [f"seed {report['seed']}: {each}" for report in reports for each in report.get("violations", ())],
        "figures": {
            path: {"mean": round(fmean(values), 4), "least": min(values), "most": max(values)}
            for path, values in found.items()
        },
    }


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a report, by the names that lead to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in {"series", "seed", "cluster"}:
                yield from _numbers(inner, f"{path}.{name}" if path else name)
    elif path.startswith("money."):
        yield path, float(value)
    elif isinstance(value, int | float):
        yield path, value
