"""Scenes and captions as shards: painted and encoded once, whatever interrupts it, and read memory-mapped from then on.

`scenes` has for each caption its pictures in the decoder's size and what the text encoder says of it; `large` has
pictures for the up-sampler; `vectors` has what the trained picture encoder says of each scene's first picture.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from freehold.engines.painter_words import MAX_TOKENS
from freehold.errors import ConfigError
from freehold.training.data.records import MANIFEST, TRAINING, VALIDATION, Field, RecordShards
from freehold.training.data.writing import RecordWriter, writable
from freehold.training.image import decoder, upsampler
from freehold.training.image.card import write_card
from freehold.training.image.objective import PICTURE
from freehold.training.image.objects import Thing
from freehold.training.image.recipes import ScenesRecipe
from freehold.training.image.rendering import Renderer
from freehold.training.image.scenes import Scene, make_scenes
from freehold.training.image.stages import VECTOR
from freehold.training.image.text_encoder import WIDTH

Say = Callable[[str], None]
Arrays = Mapping[str, NDArray[Any]]
ItemT = TypeVar("ItemT")
Encode = Callable[[Sequence[str]], Mapping[str, Tensor]]
"""Captions → `states`, `mask` and `sentence`."""

CAPTION_BYTES: Final = 128
"""A caption is kept in UTF-8, with zeros behind it."""
TOGETHER: Final = 256
"""Scenes that are written down at once, where nothing else is said."""
_TOLD_EVERY: Final = 10
_TRIED: Final = 20
"""Scenes that are drawn for each that is held out."""


@dataclass(frozen=True, slots=True)
class Source:
    """What scenes are made of.

    Args:
        things: the objects.
        glyphs: their pictures, RGBA.
        encode: the text encoder.
        encoder_sha256: of its weights.
    """

    things: Sequence[Thing]
    glyphs: Sequence[Image.Image]
    encode: Encode
    encoder_sha256: str

    def facts(self) -> dict[str, Any]:
        """Digests of the objects' names and pictures, and of the text encoder."""
        found = hashlib.sha256()
        for thing, glyph in zip(self.things, self.glyphs, strict=True):
            found.update(repr(thing).encode() + repr(glyph.size).encode() + glyph.tobytes())
        return {"objects_sha256": found.hexdigest(), "text_encoder_sha256": self.encoder_sha256}


def split_scenes(things: Sequence[Thing], recipe: ScenesRecipe) -> dict[str, list[Scene]]:
    """The scenes to learn from, and held-out ones, whose captions are not among the others.

    Raises:
        ConfigError: there are not so many captions.
    """
    training = make_scenes(things, recipe.captions, recipe.seed)
    known = {scene.caption for scene in training}
    held_out: list[Scene] = []
    for scene in make_scenes(things, _TRIED * recipe.held_out, recipe.seed + 1):
        if scene.caption not in known and len(held_out) < recipe.held_out:
            known.add(scene.caption)
            held_out.append(scene)
    if len(held_out) < recipe.held_out:
        raise ConfigError(f"scenes.held_out: the objects make only {len(held_out)} captions that are not learnt from")
    return {TRAINING: training, VALIDATION: held_out}


def prepare_scenes(
    folder: Path, recipe: ScenesRecipe, source: Callable[[], Source], say: Say, *, together: int = TOGETHER
) -> RecordShards:
    """The shards `scenes`; those that are complete are taken as they are, and those that are not are gone on with.

    Args:
        folder: of the shards.
        recipe: which scenes.
        source: is called where something is to be made.
        say: is told how far it is.
        together: scenes that are written down at once; what is interrupted is gone on with by as many.

    Raises:
        ConfigError: they are of other scenes, or cannot be written.
    """
    if (folder / MANIFEST).is_file():
        return _opened(folder, _purpose(recipe))
    fields = (
        Field(PICTURE, "uint8", (recipe.views, decoder.SIDE, decoder.SIDE, 3)),
        Field("caption", "uint8", (CAPTION_BYTES,)),
        Field("states", "float16", (MAX_TOKENS, WIDTH)),
        Field("mask", "uint8", (MAX_TOKENS,)),
        Field("sentence", "float32", (WIDTH,)),
        Field("swapped", "float32", (WIDTH,)),
        Field("has_swapped", "uint8"),
    )
    made_of = source()
    renderer = Renderer(made_of.glyphs, decoder.SIDE)

    def make(scenes: Sequence[Scene], split: str, first: int) -> Arrays:
        painted = _painted(renderer, recipe, scenes, split, first)
        return {PICTURE: painted, **_captions(made_of.encode, scenes)}

    whole = split_scenes(made_of.things, recipe)
    return _described(_written(folder, fields, _purpose(recipe), made_of.facts(), whole, make, say, together))


def prepare_large(folder: Path, recipe: ScenesRecipe, source: Callable[[], Source], say: Say) -> RecordShards:
    """The shards `large`, of the first scenes; otherwise as `prepare_scenes`."""
    if (folder / MANIFEST).is_file():
        return _opened(folder, _purpose(recipe))
    made_of = source()
    renderer = Renderer(made_of.glyphs, upsampler.SIDE)
    once = recipe.model_copy(update={"views": 1})

    def make(scenes: Sequence[Scene], split: str, first: int) -> Arrays:
        return {PICTURE: _painted(renderer, once, scenes, split, first)}

    first = {split: scenes[: recipe.large] for split, scenes in split_scenes(made_of.things, recipe).items()}
    field = Field(PICTURE, "uint8", (1, upsampler.SIDE, upsampler.SIDE, 3))
    return _described(_written(folder, (field,), _purpose(recipe), made_of.facts(), first, make, say))


def prepare_vectors(
    folder: Path, scenes: RecordShards, encoder: nn.Module, encoder_sha256: str, say: Say
) -> RecordShards:
    """The shards `vectors`, of the first view of each scene; those of another encoder are made again.

    Raises:
        ConfigError: they cannot be written.
    """
    purpose = {"scenes": scenes.sha256, "encoder": encoder_sha256}
    if (folder / MANIFEST).is_file():
        found = RecordShards.open(folder)
        if found.facts["purpose"] == purpose:
            return found
        shutil.rmtree(folder)

    @torch.no_grad()
    def make(rows: Sequence[int], split: str, first: int) -> Arrays:
        pixels = scenes.read(split, PICTURE, first, len(rows))[:, 0]
        pictures = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        return {VECTOR: encoder(pictures).numpy()}

    rows = {split: range(scenes.records(split)) for split in (TRAINING, VALIDATION)}
    return _written(folder, (Field(VECTOR, "float32", (WIDTH,)),), purpose, {}, rows, make, say)


def _written(
    folder: Path,
    fields: Sequence[Field],
    purpose: Mapping[str, Any],
    facts: Mapping[str, Any],
    splits: Mapping[str, Sequence[ItemT]],
    make: Callable[[Sequence[ItemT], str, int], Arrays],
    say: Say,
    together: int = TOGETHER,
) -> RecordShards:
    """Shards of what `make` makes of so many items of a split from a place on; goes on where it was interrupted."""
    pieces = [
        (split, first) for split, items in splits.items() for first in range(0, len(items), together)
    ]  # fmt: skip
    with RecordWriter(folder, fields, purpose={**purpose, **facts}) as writer:
        done: int = writer.state or 0
        for number, (split, first) in enumerate(pieces[done:], start=done + 1):
            writer.append(split, make(splits[split][first : first + together], split, first))
            writer.commit(number)
            if number % _TOLD_EVERY == 0 or number == len(pieces):
                say(f"{folder.name}: {number / len(pieces):.0%} of {sum(map(len, splits.values()))} scenes")
        return writer.finish({"purpose": dict(purpose), **facts})


def _opened(folder: Path, purpose: Mapping[str, Any]) -> RecordShards:
    """Complete shards.

    Raises:
        ConfigError: they are of other scenes.
    """
    found = RecordShards.open(folder)
    if found.facts.get("purpose") != purpose:
        raise ConfigError(f"{folder} has other scenes than the recipe says; choose another folder, or delete it")
    return _described(found)


def _described(shards: RecordShards) -> RecordShards:
    """The shards, with a card beside them."""
    with writable(shards.folder):
        write_card(shards)
    return shards


def _purpose(recipe: ScenesRecipe) -> dict[str, Any]:
    return {"scenes": recipe.model_dump(mode="json")}


def _painted(
    renderer: Renderer, recipe: ScenesRecipe, scenes: Sequence[Scene], split: str, first: int
) -> NDArray[np.uint8]:
    """The views of scenes, count x views x side x side x 3. A scene's jitter is of its place in the split."""
    pictures = []
    for place, scene in enumerate(scenes, start=first):
        draw = np.random.default_rng((recipe.seed, split == VALIDATION, place))
        pictures.append(np.stack([renderer.render(scene, draw) for _ in range(recipe.views)]))
    return np.stack(pictures)


def _captions(encode: Encode, scenes: Sequence[Scene]) -> Arrays:
    """The captions of scenes, and what the text encoder says of them and of those with their objects exchanged."""
    said = encode([scene.caption for scene in scenes])
    has_swapped = np.array([bool(scene.swapped) for scene in scenes])
    swapped = np.zeros((len(scenes), WIDTH), np.float32)
    if has_swapped.any():
        swapped[has_swapped] = encode([scene.swapped for scene in scenes if scene.swapped])["sentence"].numpy()
    letters = np.zeros((len(scenes), CAPTION_BYTES), np.uint8)
    for row, scene in zip(letters, scenes, strict=True):
        text = scene.caption.encode()[:CAPTION_BYTES]
        row[: len(text)] = np.frombuffer(text, np.uint8)
    return {
        "caption": letters,
        "states": said["states"].numpy(),
        "mask": said["mask"].numpy().astype(np.uint8),
        "sentence": said["sentence"].numpy(),
        "swapped": swapped,
        "has_swapped": has_swapped.astype(np.uint8),
    }
