"""What runs of an evaluation came to, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from freehold.cli.tables import print_table


def print_reports(reports: Sequence[Mapping[str, Any]]) -> None:
    """A row for each criterion of each run; the last of a run is over all its criteria."""
    rows = []
    for report in reports:
        model = report["model"] or "(given answers)"
        rows += [
            (model, criterion["name"], *_numbers(criterion["score"]), criterion["errors"])
            for criterion in report["criteria"]
        ]
        if len(report["criteria"]) > 1:
            rows.append((model, "(all)", *_numbers(report["overall"]), report["result_counts"]["errored"]))
    print_table(("model", "criterion", "mean", "95 % interval", "n", "errors"), rows)


def print_comparison(first: str, second: str, told: Mapping[str, Any]) -> None:
    """A row for each criterion: by how much the second of two runs is better, and how sure that is."""
    if not told.get("items"):
        return
    rows = [
        (
            criterion["name"],
            f"{criterion['difference']['mean']:+.3f}",
            _between(criterion["difference"]),
            criterion["better"],
            criterion["worse"],
            f"{criterion['p_value']:.3f}",
        )
        for criterion in [*told["criteria"], {"name": "(all)", **told["overall"]}]
    ]
    print(f"\n{second} less {first}, item by item:")
    print_table(("criterion", "difference", "95 % interval", "better", "worse", "p (sign test)"), rows)


def _numbers(interval: Mapping[str, Any] | None) -> tuple[str, str, int]:
    if interval is None:
        return "-", "-", 0
    return f"{interval['mean']:.3f}", _between(interval), interval["count"]


def _between(interval: Mapping[str, Any]) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}"
