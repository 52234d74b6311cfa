"""The chart of a job's metrics, `metrics.svg`: losses above, accuracies and rewards below, each over the steps.

It is one file without scripts, fonts or references, and takes light or dark colours as its reader prefers them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

Metrics = Mapping[str, Any]
Points = list[tuple[float, float]]

_LOSSES: Final = {
    "train_loss": "training",
    "valid_loss": "validation, a sample",
    "full_valid_loss": "validation, whole",
}
_SHARES: Final = {
    "train_mean_token_accuracy": "training, tokens right",
    "valid_mean_token_accuracy": "validation, tokens right",
    "full_valid_mean_token_accuracy": "whole validation, tokens right",
    "train_reward_accuracy": "training, pairs right",
    "valid_reward_accuracy": "validation, pairs right",
    "train_mean_reward": "training, mean reward",
    "valid_mean_reward": "validation, mean reward",
}
_PANELS: Final = (("Loss", "mean loss", _LOSSES), ("Accuracy and reward", "share, or mean grade", _SHARES))
_LIGHT: Final = ("#0b62a8", "#c2410c", "#0a7d55", "#8a3ea0", "#8a6100", "#b1245b", "#4a5560")
_DARK: Final = ("#6cb6ff", "#ff9a5c", "#4fd1a5", "#d6a0ea", "#e3b341", "#ff8fb3", "#b8c2cc")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP = 720, 220, 76, 24, 64
_HEAD, _FOOT = 44, 56
_ENTRY: Final = 210
"""How wide one entry of a legend is."""
_TITLE_PX, _TITLE_CHARACTERS = 17.0, 68
"""How large a title is, and how long; a longer one is set smaller."""
_POINTS: Final = 1000
"""Of a line; more steps are thinned out."""
_MARKED: Final = 30
"""A line of so few points has a mark at each."""
_TICKS: Final = 5
_TICKS_ALONG_STEPS: Final = 8


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis: its ends, and where it is marked."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """How far along the axis a value is, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


def chart_of(title: str, steps: Sequence[Metrics]) -> bytes:
    """`metrics.svg`.

    Args:
        title: the name of the model.
        steps: the metrics of each, oldest first; what was not measured is missing or None.
    """
    panels = [
        (name, unit, found)
        for name, unit, known in _PANELS
        if (found := [(told, points) for key, told in known.items() if (points := _points(steps, key))])
    ]
    parts, top = list[str](), _TOP
    for name, unit, lines in panels:
        drawn, tall = _panel(name, unit, lines, top)
        parts += drawn
        top += tall
    wide, tall = _LEFT + _WIDTH + _RIGHT, top + 8
    letters = min(_TITLE_PX, _TITLE_PX * _TITLE_CHARACTERS / max(1, len(title)))
    told, size = f"Metrics of {title}", f'width="{wide}" height="{tall}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {wide} {tall}" role="img">',
            f"<title>{escape(told)}</title>",
            f"<style>{_style()}</style>",
            f'<rect class="paper" width="{wide}" height="{tall}"/>',
            f'<text class="title" x="{_LEFT}" y="28" style="font-size:{letters:.3g}px">{escape(title)}</text>',
            f'<text class="faint" x="{_LEFT}" y="48">Fine-tuning, {len(steps)} steps measured</text>',
            *parts,
            "</svg>",
        ]
    ).encode()


def _panel(name: str, unit: str, lines: Sequence[tuple[str, Points]], top: int) -> tuple[list[str], int]:
    """One diagram, `top` below the picture's upper edge, and how tall it is with its legend and its axis."""
    row = _WIDTH // _ENTRY
    head = _HEAD + 18 * ((len(lines) - 1) // row)
    up, down = top + head, top + head + _HEIGHT
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points]
    across, along = _axis(min(xs), max(xs), whole=True), _axis(min(0.0, *ys), max(ys))
    parts = [f'<text class="panel" x="{_LEFT}" y="{top + 14}">{escape(name)}</text>']
    for tick in along.ticks:
        y = down - along.place(tick) * _HEIGHT
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}h{_WIDTH}"/>')
        parts.append(f'<text class="faint" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in across.ticks:
        x = _LEFT + across.place(tick) * _WIDTH
        parts.append(f'<path class="axis" d="M{x:.1f} {down}v5"/>')
        parts.append(f'<text class="faint" x="{x:.1f}" y="{down + 19}" text-anchor="middle">{tick:g}</text>')
    middle, turned = up + _HEIGHT // 2, 'text-anchor="middle" transform="rotate(-90 20'
    parts += [
        f'<path class="axis" d="M{_LEFT} {up}V{down}H{_LEFT + _WIDTH}"/>',
        f'<text class="faint" x="{_LEFT + _WIDTH // 2}" y="{down + 37}" text-anchor="middle">training step</text>',
        f'<text class="faint" x="20" y="{middle}" {turned} {middle})">{unit}</text>',
    ]
    for number, (told, points) in enumerate(lines):
        key_x, key_y = _LEFT + number % row * _ENTRY, top + 34 + 18 * (number // row)
        parts.append(f'<path class="line c{number}" d="M{key_x} {key_y - 4}h22"/>')
        parts.append(f'<text x="{key_x + 29}" y="{key_y}">{escape(told)}</text>')
        places = [(_LEFT + across.place(x) * _WIDTH, down - along.place(y) * _HEIGHT) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line c{number}" points="{path}"/>')
        if len(places) <= _MARKED:
            parts += [f'<circle class="mark m{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
    return parts, head + _HEIGHT + _FOOT


def _axis(low: float, high: float, *, whole: bool = False) -> _Axis:
    """An axis with round ticks that has these values on it; `whole` keeps its ends, and ticks at whole numbers."""
    span = (high - low) or max(abs(high), 1.0)
    rough = span / (_TICKS_ALONG_STEPS if whole else _TICKS)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
        first, last = math.ceil(low / step), math.floor(high / step)
        high = high if high > low else low + 1.0
    else:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        last = max(last, first + 1)
        low, high = first * step, last * step
    return _Axis(low, high, tuple(float(f"{number * step:.12g}") for number in range(first, last + 1)))


def _points(steps: Sequence[Metrics], name: str) -> Points:
    """The values of one metric over the steps, thinned out where there are many."""
    found = [
        (float(step["step"]), float(step[name]))
        for step in steps
        if step.get(name) is not None and math.isfinite(step[name])
    ]
    every = -(-len(found) // _POINTS)
    return found if every <= 1 else [*found[::every], found[-1]]


def _style() -> str:
    """The looks, for a light and a dark background."""

    def colours(paper: str, ink: str, faint: str, grid: str, lines: Sequence[str]) -> str:
        told = f".paper{{fill:{paper}}}text{{fill:{ink}}}.faint{{fill:{faint}}}.grid{{stroke:{grid}}}"
        told += f".axis{{stroke:{faint}}}"
        return told + "".join(f".c{n}{{stroke:{each}}}.m{n}{{fill:{each}}}" for n, each in enumerate(lines))

    return (
        "text{font:12px system-ui,sans-serif}.title{font-weight:600}"
        ".panel{font-size:14px;font-weight:600}"
        ".line{fill:none;stroke-width:2;stroke-linejoin:round}.axis,.grid{fill:none;stroke-width:1}"
        + colours("#ffffff", "#1a1d21", "#565d66", "#e4e7eb", _LIGHT)
        + "@media (prefers-color-scheme:dark){"
        + colours("#14171a", "#e8eaed", "#a3abb5", "#2b3036", _DARK)
        + "}"
    )
