"""The files of results: the metrics of a job's steps as a table, and as a chart."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

COLUMNS: Final = (
    "step",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "train_mean_reward",
    "valid_mean_reward",
    "train_reward_accuracy",
    "valid_reward_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
    "learning_rate",
    "tokens",
)
"""As OpenAI's `step_metrics.csv` has them, then what else is measured."""
_ALWAYS: Final = COLUMNS[:5]
_SOURCES: Final = {"train_accuracy": "train_mean_token_accuracy"}
_LOSSES: Final = ("train_loss", "valid_loss", "full_valid_loss")
_SHARES: Final = (
    "train_mean_token_accuracy",
    "valid_mean_token_accuracy",
    "train_mean_reward",
    "valid_mean_reward",
    "train_reward_accuracy",
    "valid_reward_accuracy",
)
_COLOURS: Final = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b")
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 760, 220, 64, 36, 64
_POINTS: Final = 1000
"""Of a line; more steps are thinned out."""

Metrics = Mapping[str, Any]


def table_of(steps: Sequence[Metrics]) -> bytes:
    """`step_metrics.csv`: a line for each step, with the columns that any step has."""
    columns = [name for name in COLUMNS if name in _ALWAYS or any(_value(step, name) is not None for step in steps)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for step in steps:
        writer.writerow([_text(_value(step, name)) for name in columns])
    return out.getvalue().encode()


def chart_of(title: str, steps: Sequence[Metrics]) -> bytes:
    """`metrics.svg`: losses above, accuracies and rewards below, each over the steps."""
    panels = [(label, lines) for label, names in (("loss", _LOSSES), ("accuracy, reward", _SHARES)) if (
        lines := [(name, points) for name in names if (points := _points(steps, name))]
    )]  # fmt: skip
    height = _TOP + len(panels) * (_HEIGHT + _GAP)
    box = f"0 0 {_LEFT + _WIDTH + 24} {height}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">{escape(title)}</text>',
    ]
    for place, (label, lines) in enumerate(panels):
        parts += _panel(label, lines, _TOP + place * (_HEIGHT + _GAP))
    return "\n".join([*parts, "</svg>"]).encode()


def _panel(label: str, lines: Sequence[tuple[str, list[tuple[float, float]]]], top: int) -> list[str]:
    """One diagram, `top` below the picture's upper edge."""
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points]
    x0, x1, y0, y1 = min(xs), max(xs), min(0.0, *ys), max(ys)
    wide, tall = (x1 - x0) or 1.0, (y1 - y0) or 1.0
    parts = [
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>',
        f'<text x="{_LEFT}" y="{top + _HEIGHT + 16}">step {x0:g}</text>',
        f'<text x="{_LEFT + _WIDTH}" y="{top + _HEIGHT + 16}" text-anchor="end">step {x1:g}</text>',
        f'<text x="{_LEFT - 6}" y="{top + 12}" text-anchor="end">{y1:.3g}</text>',
        f'<text x="{_LEFT - 6}" y="{top + _HEIGHT}" text-anchor="end">{y0:.3g}</text>',
        f'<text x="{_LEFT + 8}" y="{top + 16}" fill="#666">{label}</text>',
    ]
    for number, (name, points) in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(_LEFT + (x - x0) / wide * _WIDTH, top + _HEIGHT - (y - y0) / tall * _HEIGHT) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        if len(points) == 1:
            parts.append(f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3" fill="{colour}"/>')
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        place = f'x="{_LEFT + _WIDTH - 8}" y="{top + 16 + 15 * number}"'
        parts.append(f'<text {place} text-anchor="end" fill="{colour}">{name}</text>')
    return parts


def _points(steps: Sequence[Metrics], name: str) -> list[tuple[float, float]]:
    """The values of one metric over the steps, thinned out where there are many."""
    found = [(float(step["step"]), float(step[name])) for step in steps if step.get(name) is not None]
    every = -(-len(found) // _POINTS)
    return found if every <= 1 else [*found[::every], found[-1]]


def _value(step: Metrics, name: str) -> Any:
    return step.get(_SOURCES.get(name, name))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
