"""Draws the stages' losses over their steps, one panel each, from the logs that training left.

Run as `python -m freehold.training.image.curves FOLDER PICTURE`.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image, ImageDraw

from freehold.training.image.recipes import STAGES
from freehold.training.trainer.log_file import NAME, read_lines

PANEL = (300, 180)
MARGIN = 24
POINTS = 60
"""Of a curve, at most; each is the mean of as many lines of the log."""


Point = tuple[float, float]
"""A step and a loss."""


def draw_curves(folder: Path) -> Image.Image:
    """A picture with the stages side by side; losses on a logarithmic scale, held-out ones as dots."""
    found = Image.new("RGB", (PANEL[0] * len(STAGES), PANEL[1]), "white")
    draw = ImageDraw.Draw(found)
    for place, stage in enumerate(STAGES):
        lines = read_lines(folder / stage / NAME)
        left = place * PANEL[0]
        draw.rectangle((left + MARGIN, MARGIN, left + PANEL[0] - MARGIN, PANEL[1] - MARGIN), outline="#999999")
        draw.text((left + MARGIN, 6), f"{stage}: loss over steps", fill="black")
        learnt = _smooth(_points(lines, "step", "loss"))
        if learnt:
            _panel(draw, left, learnt, _points(lines, "evaluation", "valid_loss"))
    return found


def _panel(draw: ImageDraw.ImageDraw, left: int, learnt: Sequence[Point], held_out: Sequence[Point]) -> None:
    """One stage's curve, and what is written below it."""
    points = (*learnt, *held_out)
    losses = [math.log(loss) for _, loss in points]
    low, span, last = min(losses), max(max(losses) - min(losses), 1e-6), max(step for step, _ in points)

    def at(point: Point) -> Point:
        x = left + MARGIN + (PANEL[0] - 2 * MARGIN) * point[0] / last
        return x, PANEL[1] - MARGIN - (PANEL[1] - 2 * MARGIN) * (math.log(point[1]) - low) / span

    draw.line([at(point) for point in learnt], fill="#c03020", width=2)
    for x, y in map(at, held_out):
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill="#2050a0")
    kept_back = f", held out {held_out[-1][1]:.3g}" if held_out else ""
    told = f"{learnt[0][1]:.3g} to {learnt[-1][1]:.3g}{kept_back}, {last:.0f} steps"
    draw.text((left + MARGIN, PANEL[1] - 18), told, fill="black")


def _points(lines: Sequence[Mapping[str, Any]], kind: str, name: str) -> list[Point]:
    """What lines of a kind say; those that say nothing, or no positive number, are left out."""
    return [(line["step"], line[name]) for line in lines if line.get("kind") == kind and (line.get(name) or 0) > 0]


def _smooth(points: Sequence[Point]) -> list[Point]:
    """At most `POINTS` points, each the mean of its neighbours."""
    together = -(-len(points) // POINTS) or 1
    parts = [points[first : first + together] for first in range(0, len(points), together)]
    return [(fmean(step for step, _ in part), fmean(loss for _, loss in part)) for part in parts]


def main() -> None:
    """Draw the curves of a training."""
    parser = argparse.ArgumentParser(prog="curves")
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    draw_curves(arguments.folder).save(arguments.picture, optimize=True)


if __name__ == "__main__":
    main()
