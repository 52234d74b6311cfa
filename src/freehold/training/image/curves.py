"""Draws the stages' losses over time, one panel each, from the files that training left.

Run as `python -m freehold.training.image.curves FOLDER PICTURE`.
"""

import argparse
import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

STAGES = ("encoder", "prior", "decoder", "upsampler")
PANEL = (300, 180)
MARGIN = 24


def draw_curves(folder: Path) -> Image.Image:
    """A picture with the stages side by side; losses on a logarithmic scale."""
    found = Image.new("RGB", (PANEL[0] * len(STAGES), PANEL[1]), "white")
    draw = ImageDraw.Draw(found)
    for place, stage in enumerate(STAGES):
        file = folder / f"{stage}.curve.json"
        curve = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
        left = place * PANEL[0]
        draw.rectangle((left + MARGIN, MARGIN, left + PANEL[0] - MARGIN, PANEL[1] - MARGIN), outline="#999999")
        draw.text((left + MARGIN, 6), f"{stage}: loss over seconds", fill="black")
        if len(curve) < 2:
            continue
        seconds = [point[0] for point in curve]
        losses = [math.log(point[2]) for point in curve]
        low, span = min(losses), max(max(losses) - min(losses), 1e-6)
        points = [
            (
                left + MARGIN + (PANEL[0] - 2 * MARGIN) * second / seconds[-1],
                PANEL[1] - MARGIN - (PANEL[1] - 2 * MARGIN) * (loss - low) / span,
            )
            for second, loss in zip(seconds, losses, strict=True)
        ]
        draw.line(points, fill="#c03020", width=2)
        ends = f"{curve[0][2]:.3g} to {curve[-1][2]:.3g}, {curve[-1][1]} steps, {seconds[-1]} s"
        draw.text((left + MARGIN, PANEL[1] - 18), ends, fill="black")
    return found


def main() -> None:
    """Draw the curves of a training."""
    parser = argparse.ArgumentParser(prog="curves")
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    draw_curves(arguments.folder).save(arguments.picture, optimize=True)


if __name__ == "__main__":
    main()
