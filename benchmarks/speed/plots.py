"""The plots of docs/benchmarks.md, as SVG files with text that stays text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.speed.rounds import Samples

OWN, OTHER, REFERENCE = "#3b6fb6", "#c2571a", "#8a8f98"
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "freehold",
    "font.size": 9,
    "font.family": "sans-serif",
}
Results = Mapping[str, Any]


def write_plots(folder: Path, results: Results) -> None:
    """A file for each part of the results, in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_SETTINGS):
        if "gateways" in results:
            _save(_gateways(results["gateways"]), folder / "gateways.svg")
        if "engines" in results:
            _save(_engines(results["engines"]), folder / "engines.svg")


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.read_text(encoding="utf-8")
    file.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def _samples(part: Results) -> Samples:
    return Samples({name: dict(measures) for name, measures in part["samples"].items()})


def _gateways(part: Results) -> Figure:
    names = [each["name"] for each in part["contenders"] if each["name"] != "upstream"]
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=False)
    _bars(left, part, names, "requests/s at 16", "requests a second, 16 connections", log=True)
    _bars(right, part, names, "streams/s", "streams of 32 pieces a second, 10 at a time", log=True)
    return figure


def _bars(axes: Axes, part: Results, names: list[str], measure: str, title: str, *, log: bool = False) -> None:
    """A bar for each contender that has the measure, with its range."""
    samples = _samples(part)
    found = [(name, told) for name in reversed(names) if (told := samples.summary(name, measure)) is not None]
    for place, (name, told) in enumerate(found):
        colour = OWN if name.startswith("Freehold") else REFERENCE if name.startswith("bare") else OTHER
        axes.barh(place, told.median, color=colour, height=0.6)
        axes.plot([told.low, told.high], [place, place], color="#24292f", linewidth=1)
        axes.annotate(f"{told.median:,.0f}", (told.high, place), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(found)), [name for name, _ in found])
    if log:
        axes.set_xscale("log")
    axes.set_xlim(1 if log else 0, max(told.high for _, told in found) * (4 if log else 1.2))
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _engines(part: Results) -> Figure:
    samples, names = _samples(part), [each["name"] for each in part["contenders"]]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    marks = iter("osD^vX")
    for name in names:
        told = [samples.summary(name, f"tokens/s at {n}") for n in part["streams"]]
        points = [(n, each.median) for n, each in zip(part["streams"], told, strict=True) if each is not None]
        style = "-" if name.startswith("Freehold") else "--"
        left.plot(*zip(*points, strict=True), style, marker=next(marks), label=name, linewidth=1.3, markersize=4)
    left.set_xticks(part["streams"])
    left.set_xlabel("streams at once", fontsize=9)
    left.set_ylim(bottom=0)
    left.set_title("tokens a second, all streams together", fontsize=9)
    left.legend(frameon=False, fontsize=8)
    left.spines[["top", "right"]].set_visible(False)
    _bars(right, part, names, "prefill tokens/s", "tokens of a fresh prompt of 1,500 read a second")
    return figure
