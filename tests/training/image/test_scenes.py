"""The pictures and captions that the painter learns from."""

import random

import numpy as np
import pytest
from PIL import Image

from freehold.training.image.objects import ANNOTATIONS, EMOJI, HELD_OUT, Thing, load_things
from freehold.training.image.rendering import Renderer
from freehold.training.image.scenes import COLOURS, PLACES, Layout, Scene, make_scenes, pair, plural

THINGS = (Thing("a", "cat", ("kitten",)), Thing("b", "fox", ()), Thing("c", "cherry", ()))
SIDE = 64


def squares() -> list[Image.Image]:
    """A red, a green and a blue square in place of glyphs."""
    return [Image.new("RGBA", (80, 80), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]


def test_scenes_come_from_their_seed() -> None:
    """The same seed draws the same scenes, another one others."""
    assert make_scenes(THINGS, 50, 1) == make_scenes(THINGS, 50, 1)
    assert make_scenes(THINGS, 50, 1) != make_scenes(THINGS, 50, 2)


def test_a_scene_has_an_object_for_each_place() -> None:
    """Every layout is drawn, and has as many objects as places."""
    scenes = make_scenes(THINGS, 500, 3)
    assert all(len(scene.things) == len(PLACES[scene.layout]) for scene in scenes)
    assert {scene.layout for scene in scenes} == set(Layout) - {Layout.EMPTY}


def test_a_caption_names_its_objects_and_background() -> None:
    """What is shown is said: each object by its name or a synonym, and a colour that is not the default."""
    for scene in make_scenes(THINGS, 500, 4):
        for index in scene.things:
            words = (THINGS[index].name, *THINGS[index].synonyms)
            assert any(word in scene.caption or plural(word) in scene.caption for word in words)
        if scene.background in COLOURS and scene.background != "white":
            assert scene.background in scene.caption


def test_a_position_is_shown_as_it_is_said() -> None:
    """Of "A below B" and "A right of B" the picture has B first, else A; the swapped caption says the reverse."""
    draw = random.Random(5)
    for _ in range(100):
        layout, said, swapped = pair("a cat", "a fox", draw)
        if swapped:
            turned = said.startswith("\0")
            assert turned == any(word in said for word in ("right", "below", "under", "beneath"))
            assert swapped.startswith("a fox")
            assert layout is (Layout.BESIDE if "left" in said or "right" in said else Layout.STACKED)


@pytest.mark.parametrize(
    ("word", "several"),
    [
        ("cat", "cats"),
        ("fox", "foxes"),
        ("cherry", "cherries"),
        ("monkey", "monkeys"),
        ("bus", "buses"),
        ("fish", "fish"),
        ("slice of watermelon", "slices of watermelon"),
        ("maple leaf", "maple leaves"),
    ],
)
def test_several_of_it(word: str, several: str) -> None:
    """Plurals are what a person would write."""
    assert plural(word) == several


def test_objects_stand_where_the_layout_puts_them() -> None:
    """The first of two stands on the left or above, and the background fills the rest."""
    renderer = Renderer(squares(), SIDE)
    draw = np.random.default_rng(6)
    beside = renderer.render(Scene((0, 1), Layout.BESIDE, "white", ""), draw)
    stacked = renderer.render(Scene((2, 0), Layout.STACKED, "black", ""), draw)
    assert tuple(beside[SIDE // 2, SIDE // 4]) == (255, 0, 0)
    assert tuple(beside[SIDE // 2, 3 * SIDE // 4]) == (0, 255, 0)
    assert tuple(beside[2, 2]) == (255, 255, 255)
    assert tuple(stacked[SIDE // 4, SIDE // 2]) == (0, 0, 255)
    assert tuple(stacked[3 * SIDE // 4, SIDE // 2]) == (255, 0, 0)
    assert stacked[2, 2].max() < 40


def test_jitter_comes_from_its_generator() -> None:
    """The same generator paints the same picture, its next picture is another."""
    renderer = Renderer(squares(), SIDE)
    scene = Scene((0,), Layout.ONE, "blue", "")
    draw = np.random.default_rng(7)
    first, second = renderer.render(scene, draw), renderer.render(scene, draw)
    assert np.array_equal(first, renderer.render(scene, np.random.default_rng(7)))
    assert not np.array_equal(first, second)


def test_held_out_names_stand_in_no_caption() -> None:
    """No object is called by a name that the evaluation keeps for itself, and none has another's name."""
    if not ANNOTATIONS.is_file():
        pytest.skip("Unicode's CLDR is not installed (Debian package unicode-cldr-core)")
    things = load_things()
    assert [thing.emoji for thing in things] == list(EMOJI)
    names = [name for thing in things for name in (thing.name, *thing.synonyms)]
    assert len(names) == len(set(names))
    assert set(HELD_OUT.values()).isdisjoint(names)
    assert set(HELD_OUT) <= set(EMOJI)
