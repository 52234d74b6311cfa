"""How well the starter painter paints what a caption says, on captions that were not in its training.

The judge took no part in the training and learned nothing: it renders every answer that is possible (each object, each
background, each count, each order of a pair) from the font, at several sizes and places, and takes the one whose pixels
are nearest to the picture. Needs the font and CLDR that `freehold train image` needs.

    python -m benchmarks.painter_quality --pictures 72 --sheet sheet.png
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from freehold.engines.painter import WEIGHTS
from freehold.engines.painter_model import PainterModel, Sampling
from freehold.training.image.glyphs import load_glyphs
from freehold.training.image.objects import EMOJI, HELD_OUT, load_things
from freehold.training.image.recipes import starter
from freehold.training.image.rendering import Renderer
from freehold.training.image.scenes import COLOURS, COUNTS, OUTDOORS, Layout, Scene, make_scenes, one, plural

SIDE = 64
SEED = 20_261_125
TRIES = 24
"""Renderings of each answer, jittered as in training."""
BORDER = 4
SHEET_SIDE = 112

Pixels = npt.NDArray[np.float32]


class Judge:
    """Tells what a picture shows by the nearest rendering."""

    def __init__(self) -> None:
        things = load_things()
        self._renderer = Renderer(load_glyphs([thing.emoji for thing in things]), SIDE)
        self._known: dict[tuple[tuple[int, ...], Layout, str], Pixels] = {}

    def nearest(self, picture: Pixels, answers: Sequence[Scene]) -> Scene:
        """The answer with the nearest rendering."""
        return min(answers, key=lambda scene: float(((self._renderings(scene) - picture) ** 2).mean((1, 2, 3)).min()))

    def background(self, picture: Pixels) -> str:
        """The background, by the picture's border."""
        names = (*COLOURS, *OUTDOORS)
        empty = {name: self._renderings(Scene((), Layout.EMPTY, name, "")).mean(0) for name in names}
        return min(names, key=lambda name: float(np.median(_border(np.abs(empty[name] - picture).sum(-1)))))

    def _renderings(self, scene: Scene) -> Pixels:
        key = (scene.things, scene.layout, scene.background)
        if key not in self._known:
            draw = np.random.default_rng(SEED)
            self._known[key] = np.stack([self._renderer.render(scene, draw) for _ in range(TRIES)]).astype(np.float32)
        return self._known[key]


def _border(values: Pixels) -> Pixels:
    """The values along the edge."""
    inside = np.zeros(values.shape, bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    return values[~inside]


class Painter:
    """Paints captions at the size that the decoder has, and keeps them for the sheet."""

    def __init__(self, weights: Path, sampling: Sampling) -> None:
        self.model = PainterModel(weights, 0)
        self._sampling = sampling
        self.large: list[tuple[str, Image.Image]] = []

    def paint(self, caption: str, seed: int) -> Pixels:
        """The picture, SIDE x SIDE x 3, from 0 to 255."""
        *_, found = self.model.paint(self.model.caption(caption, seed), seed, self._sampling)
        big = self.model.enlarge(found)
        pixels = np.clip(np.rint((big.transpose(1, 2, 0) + 1) * 127.5), 0, 255).astype(np.uint8)
        self.large.append((caption, Image.fromarray(pixels)))
        return ((found.transpose(1, 2, 0) + 1) * 127.5).astype(np.float32)


def _share(trials: Iterable[bool]) -> float:
    found = list(trials)
    return round(100 * sum(found) / len(found), 1)


def measure(painter: Painter, judge: Judge, pictures: int, trained: frozenset[str]) -> dict[str, float]:
    """The shares of pictures that the judge finds right, in per cent."""
    things = load_things()
    draw = random.Random(SEED)  # noqa: S311  # no secret
    backgrounds = (*COLOURS, *OUTDOORS)

    def fresh(make: Callable[[], Scene]) -> Scene:
        for _ in range(100):
            scene = make()
            if scene.caption not in trained:
                return scene
        return make()

    def object_right(index: int, word: str, number: int) -> bool:
        scene = fresh(lambda: _single(index, word, draw))
        picture = painter.paint(scene.caption, number)
        answers = [replace(scene, things=(other,)) for other in range(len(things))]
        return judge.nearest(picture, answers).things == scene.things

    def background_right(number: int) -> bool:
        index, name = draw.randrange(len(things)), backgrounds[number % len(backgrounds)]
        scene = _single(index, things[index].name, draw, name)
        return judge.background(painter.paint(scene.caption, number)) == name

    def count_right(number: int) -> bool:
        index = draw.randrange(len(things))
        layout = (Layout.ONE, *COUNTS)[number % 4]
        word = things[index].name
        caption = f"one {word}" if layout is Layout.ONE else f"{COUNTS[layout]} {plural(word)}"
        scenes = [Scene((index,) * max(1, place), lay, "white", caption) for place, lay in enumerate(_ORDER, start=1)]
        found = judge.nearest(painter.paint(caption, number), scenes)
        return found.layout is layout

    def position_right(number: int) -> bool:
        first, second = draw.sample(range(len(things)), 2)
        words = [one(things[index].name, random.Random(1)) for index in (first, second)]  # noqa: S311
        phrase = ("to the left of", "to the right of", "above", "below")[number % 4]
        caption = f"{words[0]} {phrase} {words[1]}"
        layout = Layout.BESIDE if number % 4 < 2 else Layout.STACKED
        shown = (first, second) if number % 2 == 0 else (second, first)
        answers = [
            Scene(pair, lay, "white", "")
            for pair in ((first, second), (second, first))
            for lay in (Layout.BESIDE, Layout.STACKED)
        ]
        found = judge.nearest(painter.paint(caption, number), answers)
        return (found.things, found.layout) == (shown, layout)

    singles = [index % len(things) for index in range(pictures)]
    held = [(EMOJI.index(emoji), word) for emoji, word in HELD_OUT.items()]
    return {
        "object top-1": _share(object_right(index, things[index].name, n) for n, index in enumerate(singles)),
        "background": _share(background_right(number) for number in range(pictures)),
        "count": _share(count_right(number) for number in range(pictures)),
        "position": _share(position_right(number) for number in range(pictures)),
        "held-out synonyms top-1": _share(object_right(index, word, n) for n, (index, word) in enumerate(held)),
    }


_ORDER = (Layout.ONE, Layout.TWO, Layout.THREE, Layout.FOUR)


def _single(index: int, word: str, draw: random.Random, background: str | None = None) -> Scene:
    """One object on a background."""
    name = background or draw.choice((*COLOURS, *OUTDOORS))
    where = draw.choice(OUTDOORS[name]) if name in OUTDOORS else f"on a {name} background"
    return Scene((index,), Layout.ONE, name, f"{one(word, random.Random(1))} {where}")  # noqa: S311


def sheet(pictures: Sequence[tuple[str, Image.Image]], columns: int = 10) -> Image.Image:
    """A contact sheet."""
    rows = -(-len(pictures) // columns)
    found = Image.new("RGB", (columns * SHEET_SIDE, rows * SHEET_SIDE), "white")
    for place, (_, picture) in enumerate(pictures):
        small = picture.resize((SHEET_SIDE - 4, SHEET_SIDE - 4), Image.Resampling.LANCZOS)
        found.paste(small, (place % columns * SHEET_SIDE, place // columns * SHEET_SIDE))
    return found


def main() -> None:
    """Measure and print as JSON; write the sheet and its captions where they are wanted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--pictures", type=int, default=len(EMOJI), help="for each score but the synonyms'")
    parser.add_argument("--steps", type=int, default=Sampling().steps)
    parser.add_argument("--guidance", type=float, default=Sampling().guidance)
    parser.add_argument("--start", type=float, default=Sampling().start)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    scenes = starter().scenes
    trained = frozenset(scene.caption for scene in make_scenes(load_things(), scenes.captions, scenes.seed))
    painter = Painter(arguments.weights, Sampling(arguments.steps, arguments.guidance, arguments.start))
    started = time.monotonic()
    scores = measure(painter, Judge(), arguments.pictures, trained)
    took_s = round(time.monotonic() - started)
    print(json.dumps({**scores, "pictures": len(painter.large), "seconds": took_s}, indent=1))
    if arguments.sheet is not None:
        chosen = random.Random(SEED).sample(painter.large, min(100, len(painter.large)))  # noqa: S311
        sheet(chosen).save(arguments.sheet, optimize=True)
        captions = "\n".join(f"{place}. {caption}" for place, (caption, _) in enumerate(chosen, start=1))
        arguments.sheet.with_suffix(".txt").write_text(captions + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
