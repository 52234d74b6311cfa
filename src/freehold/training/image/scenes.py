"""Scenes and their captions: an object, some of one, or a pair, large or small, on a colour or somewhere outdoors.

A scene says what is where; `rendering` jitters and paints it. One caption is drawn for each scene.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from freehold.training.image.objects import Thing


class Layout(StrEnum):
    """How the objects of a scene stand."""

    EMPTY = "empty"
    ONE = "one"
    SMALL = "small"
    BIG = "big"
    TWO = "two"
    THREE = "three"
    FOUR = "four"
    BESIDE = "beside"
    """Two objects, the first on the left."""
    STACKED = "stacked"
    """Two objects, the first above."""


PLACES: dict[Layout, tuple[tuple[float, float, float], ...]] = {
    Layout.EMPTY: (),
    Layout.ONE: ((0.5, 0.5, 0.75),),
    Layout.SMALL: ((0.5, 0.5, 0.42),),
    Layout.BIG: ((0.5, 0.5, 0.94),),
    Layout.TWO: ((0.26, 0.5, 0.42), (0.74, 0.5, 0.42)),
    Layout.THREE: ((0.5, 0.26, 0.42), (0.26, 0.74, 0.42), (0.74, 0.74, 0.42)),
    Layout.FOUR: ((0.26, 0.26, 0.42), (0.74, 0.26, 0.42), (0.26, 0.74, 0.42), (0.74, 0.74, 0.42)),
    Layout.BESIDE: ((0.26, 0.5, 0.43), (0.74, 0.5, 0.43)),
    Layout.STACKED: ((0.5, 0.26, 0.43), (0.5, 0.74, 0.43)),
}
"""Centre and size of each object, in parts of the picture's side."""

COUNTS = {Layout.TWO: "two", Layout.THREE: "three", Layout.FOUR: "four"}

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (20, 20, 20),
    "gray": (150, 150, 150),
    "red": (214, 40, 40),
    "orange": (247, 150, 40),
    "yellow": (252, 220, 80),
    "green": (70, 170, 80),
    "blue": (50, 100, 220),
    "light blue": (160, 210, 245),
    "purple": (130, 70, 180),
    "pink": (250, 170, 200),
    "brown": (120, 75, 45),
}

OUTDOORS: dict[str, tuple[str, ...]] = {
    "night": ("at night", "in the night sky", "under the stars"),
    "sunset": ("at sunset", "in the sunset"),
    "snow": ("in the snow", "on snow"),
    "grass": ("on the grass", "in a meadow", "in a field"),
    "ocean": ("in the ocean", "in the sea", "under water"),
    "desert": ("in the desert", "on the sand"),
}
"""Backgrounds that are no plain colour, and how a caption says them."""

DEFAULT_BACKGROUND = "white"
"""What is painted where the caption names no background."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows.

    Args:
        things: indices of the objects, by place; of a count, the same object several times.
        layout: where they stand.
        background: a name of `COLOURS` or `OUTDOORS`.
        caption: what is said about it.
        swapped: the caption with the two objects exchanged, for a pair in a told position; else empty.
    """

    things: tuple[int, ...]
    layout: Layout
    background: str
    caption: str
    swapped: str = ""


def make_scenes(things: Sequence[Thing], count: int, seed: int) -> list[Scene]:
    """Scenes drawn with a seed, the objects evenly."""
    draw = random.Random(seed)  # noqa: S311  # no secret
    order: list[int] = []
    scenes = []
    for _ in range(count):
        if len(order) < 2:
            order = list(range(len(things)))
            draw.shuffle(order)
        scenes.append(_scene(things, order, draw))
    return scenes


def _scene(things: Sequence[Thing], order: list[int], draw: random.Random) -> Scene:
    kind = draw.choices(("one", "sized", "count", "pair"), (0.38, 0.08, 0.17, 0.37))[0]
    background, where = _background(draw)
    first = order.pop()
    if kind == "one":
        return Scene((first,), Layout.ONE, background, _say(draw, one(_word(things[first], draw), draw), where))
    if kind == "sized":
        layout = draw.choice((Layout.SMALL, Layout.BIG))
        size = draw.choice(("small", "little", "tiny") if layout is Layout.SMALL else ("big", "large", "huge"))
        return Scene((first,), layout, background, _say(draw, f"a {size} {_word(things[first], draw)}", where))
    if kind == "count":
        layout = draw.choice(tuple(COUNTS))
        said = f"{COUNTS[layout]} {plural(_word(things[first], draw))}"
        return Scene((first,) * len(PLACES[layout]), layout, background, _say(draw, said, where))
    second = order.pop()
    words = [one(_word(things[index], draw), draw) for index in (first, second)]
    layout, said, swapped = pair(words[0], words[1], draw)
    turned = said.startswith("\0")
    shown = (second, first) if turned else (first, second)
    tail = f" {where}" if where else ""
    return Scene(shown, layout, background, said.lstrip("\0") + tail, swapped and swapped + tail)


def pair(first: str, second: str, draw: random.Random) -> tuple[Layout, str, str]:
    """A layout, what is said about two objects, and the same with them exchanged.

    What is said begins with a NUL where the object named first stands right or below.
    """
    relation = draw.choices(("left", "right", "above", "below", "and"), (0.2, 0.2, 0.2, 0.2, 0.2))[0]
    phrases = {
        "left": ("to the left of", "left of"),
        "right": ("to the right of", "right of"),
        "above": ("above", "over", "on top of"),
        "below": ("below", "under", "beneath"),
        "and": ("and", "next to", "beside"),
    }
    phrase = draw.choice(phrases[relation])
    said = f"{first} {phrase} {second}"
    swapped = "" if relation == "and" else f"{second} {phrase} {first}"
    layout = Layout.STACKED if relation in {"above", "below"} else Layout.BESIDE
    return layout, ("\0" if relation in {"right", "below"} else "") + said, swapped


def _background(draw: random.Random) -> tuple[str, str]:
    """A background, and how the caption says it; the default one is mostly left unsaid."""
    kind = draw.choices(("none", "colour", "outdoors"), (0.4, 0.35, 0.25))[0]
    if kind == "none":
        return DEFAULT_BACKGROUND, ""
    if kind == "colour":
        colour = draw.choice(tuple(COLOURS))
        return colour, draw.choice((f"on a {colour} background", f"on a {colour} background", f"on {colour}"))
    place = draw.choice(tuple(OUTDOORS))
    return place, draw.choice(OUTDOORS[place])


def _say(draw: random.Random, what: str, where: str) -> str:
    lead = draw.choices(("", "a picture of ", "a painting of ", "a photo of "), (0.76, 0.08, 0.08, 0.08))[0]
    return f"{lead}{what} {where}".strip()


def _word(thing: Thing, draw: random.Random) -> str:
    return draw.choice(thing.synonyms) if thing.synonyms and draw.random() < 0.4 else thing.name


def one(word: str, draw: random.Random) -> str:
    """A word with its article, now and then without."""
    if draw.random() < 0.15 or word.endswith(("s", "fries")):
        return word
    return f"{'an' if word[0] in 'aeio' else 'a'} {word}"


_PLURALS = {"mouse": "mice", "fish": "fish", "loaf": "loaves", "leaf": "leaves"}
_ENDINGS = (("(ss|x|sh|ch|us)$", r"\1es"), ("s$", "s"), ("([^aeou])y$", r"\1ies"), ("$", "s"))


def plural(word: str) -> str:
    """Several of it."""
    head, of, tail = word.partition(" of ")
    before, _, last = head.rpartition(" ")
    many = _PLURALS.get(last) or next(
        re.sub(pattern, ending, last, count=1) for pattern, ending in _ENDINGS if re.search(pattern, last)
    )
    return f"{before} {many}".strip() + of + tail
