"""A painter that is small enough for tests: three squares instead of emoji, and words that are vectors by chance."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from freehold.engines.painter_words import MAX_TOKENS
from freehold.training.data.records import RecordShards
from freehold.training.image.objects import Thing
from freehold.training.image.recipes import PainterRecipe, ScenesRecipe, quick
from freehold.training.image.scene_shards import Source, prepare_large, prepare_scenes
from freehold.training.image.text_encoder import WIDTH

THINGS = (Thing("a", "cat", ("kitten",)), Thing("b", "fox", ("vixen",)), Thing("c", "cherry", ()))
SCENES = ScenesRecipe(captions=40, held_out=12, views=2, large=6, seed=3)


def small_recipe(**stages: Mapping[str, object]) -> PainterRecipe:
    """The quick recipe over few scenes, with other numbers in some stages."""
    recipe = quick(3).model_copy(update={"scenes": SCENES})
    return recipe.model_copy(
        update={name: recipe.stage(name).model_copy(update=numbers) for name, numbers in stages.items()}
    )


def source() -> Source:
    """A red, a green and a blue square."""
    glyphs = [Image.new("RGBA", (80, 80), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    return Source(THINGS, glyphs, encode, "none")


def scenes(folder: Path) -> RecordShards:
    """Their shards."""
    return prepare_scenes(folder / "scenes", SCENES, source, lambda _: None)


def large(folder: Path) -> RecordShards:
    """And those of large pictures."""
    return prepare_large(folder / "large", SCENES, source, lambda _: None)


def encode(captions: Sequence[str]) -> dict[str, Tensor]:
    """Each word is a vector of its own."""
    states = torch.zeros(len(captions), MAX_TOKENS, WIDTH)
    mask = torch.zeros(len(captions), MAX_TOKENS)
    for row, caption in enumerate(captions):
        for place, word in enumerate(caption.split()[:MAX_TOKENS]):
            chance = np.random.default_rng(int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big"))
            states[row, place] = torch.from_numpy(chance.standard_normal(WIDTH, np.float32))
            mask[row, place] = 1.0
    return {"states": states.half(), "mask": mask, "sentence": functional.normalize(states.sum(1), dim=-1)}
