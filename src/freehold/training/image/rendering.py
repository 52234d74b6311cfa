"""Paints scenes: a background and glyphs at jittered places, by Pillow, a fraction of a millisecond each."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from freehold.training.image.scenes import COLOURS, PLACES, Scene

Pixels = np.ndarray
"""uint8, height x width x 3."""

SHIFT = 0.016
"""Most that an object moves, in parts of the side."""
SCALE = 0.05
"""Most that it grows or shrinks, in parts of its size."""


class Renderer:
    """Paints scenes at one size.

    Args:
        glyphs: the objects' pictures, RGBA.
        side: of the picture, in pixels.
    """

    def __init__(self, glyphs: Sequence[Image.Image], side: int) -> None:
        self._side = side
        self._glyphs = [_mipmap(glyph, side) for glyph in glyphs]
        self._outdoors = {
            name: _outdoors(name, side) for name in ("night", "sunset", "snow", "grass", "ocean", "desert")
        }

    def render(self, scene: Scene, draw: np.random.Generator) -> Pixels:
        """The scene, with jitter in place, size and shade."""
        picture = self._background(scene.background, draw)
        for index, (x, y, size) in zip(scene.things, PLACES[scene.layout], strict=True):
            side = max(4, round(size * self._side * (1 + draw.uniform(-SCALE, SCALE))))
            glyph = self._glyphs[index].resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
            left = round((x + draw.uniform(-SHIFT, SHIFT)) * self._side - side / 2)
            top = round((y + draw.uniform(-SHIFT, SHIFT)) * self._side - side / 2)
            picture.paste(glyph, (left, top), glyph)
        return np.asarray(picture)

    def _background(self, name: str, draw: np.random.Generator) -> Image.Image:
        if name in self._outdoors:
            return self._outdoors[name].copy()
        shade = draw.integers(-6, 7, size=3)
        colour = np.clip(np.asarray(COLOURS[name]) + (shade if name != "white" else 0), 0, 255)
        return Image.new("RGB", (self._side, self._side), tuple(int(value) for value in colour))


def _mipmap(glyph: Image.Image, side: int) -> Image.Image:
    """The glyph no larger than it is ever painted, so that scaling it is quick."""
    most = min(glyph.width, round(side * 1.1))
    return glyph.resize((most, most), Image.Resampling.LANCZOS)


def _outdoors(name: str, side: int) -> Image.Image:
    """A fixed background: sky and ground."""
    sky, horizon, ground, edge = {
        "night": ((12, 16, 50), (40, 46, 100), (40, 46, 100), 1.0),
        "sunset": ((250, 120, 70), (255, 200, 110), (90, 50, 90), 0.72),
        "snow": ((190, 215, 240), (225, 235, 250), (248, 250, 255), 0.6),
        "grass": ((135, 200, 250), (190, 230, 255), (95, 180, 70), 0.6),
        "ocean": ((60, 160, 220), (10, 60, 140), (10, 60, 140), 1.0),
        "desert": ((150, 205, 245), (215, 235, 250), (230, 195, 120), 0.6),
    }[name]
    y = (np.arange(side * 4) + 0.5) / (side * 4)
    mix = np.clip(y / edge, 0, 1)[:, None]
    rows = np.where((y < edge)[:, None], np.asarray(sky) * (1 - mix) + np.asarray(horizon) * mix, np.asarray(ground))
    large = np.repeat(rows[:, None, :], side * 4, axis=1)
    if name == "night":
        stars = np.random.default_rng(4).uniform(0.03, 0.97, size=(24, 2)) * side * 4
        yy, xx = np.mgrid[: side * 4, : side * 4]
        for top, left in stars:
            large[(yy - top) ** 2 + (xx - left) ** 2 < (side / 18) ** 2] = (250, 245, 200)
    return Image.fromarray(large.astype(np.uint8)).resize((side, side), Image.Resampling.LANCZOS)
