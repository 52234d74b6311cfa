"""Batches: captions encoded once, and scenes painted anew, with new jitter, each time they are drawn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from freehold.training.image.glyphs import load_glyphs
from freehold.training.image.objects import load_things
from freehold.training.image.rendering import Renderer
from freehold.training.image.scenes import Scene, make_scenes
from freehold.training.image.text_encoder import encode_captions, load_text_encoder


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures in -1..1 and what is known of their captions, row for row."""

    rows: Tensor
    pictures: Tensor
    states: Tensor
    mask: Tensor
    sentences: Tensor
    swapped: Tensor
    has_swapped: Tensor


class Data:
    """Draws batches.

    Args:
        scenes: what can be drawn.
        texts: `states`, `mask` and `sentence` of their captions, and `swapped`.
        side: of the pictures.
        seed: of the draws.
    """

    def __init__(self, scenes: list[Scene], texts: dict[str, Tensor], side: int, seed: int) -> None:
        self._scenes = scenes
        self._texts = texts
        self._draw = np.random.default_rng(seed)
        glyphs = load_glyphs([thing.emoji for thing in load_things()])
        self._renderer = Renderer(glyphs, side)
        self._has_swapped = torch.tensor([bool(scene.swapped) for scene in scenes])
        self._order = np.empty(0, dtype=np.int64)

    def pictures(self, count: int) -> tuple[Tensor, Tensor]:
        """Rows and pictures; every scene once before any comes again."""
        if len(self._order) < count:
            self._order = self._draw.permutation(len(self._scenes))
        rows, self._order = self._order[:count], self._order[count:]
        painted = np.stack([self._renderer.render(self._scenes[row], self._draw) for row in rows])
        pixels = torch.from_numpy(painted).permute(0, 3, 1, 2).float() / 127.5 - 1
        return torch.from_numpy(rows), pixels.contiguous()

    def batch(self, count: int) -> Batch:
        """Pictures with their captions."""
        rows, pictures = self.pictures(count)
        texts = self._texts
        return Batch(
            rows,
            pictures,
            texts["states"][rows].float(),
            texts["mask"][rows].float(),
            texts["sentence"][rows],
            texts["swapped"][rows],
            self._has_swapped[rows],
        )


def prepare_texts(scenes: list[Scene], minilm: Path, file: Path) -> dict[str, Tensor]:
    """The captions' encodings, from the file or made and kept there."""
    if not file.is_file():
        encoder, words = load_text_encoder(minilm)
        texts = encode_captions(encoder, words, [scene.caption for scene in scenes])
        pairs = [scene for scene in scenes if scene.swapped]
        texts["swapped"] = torch.zeros_like(texts["sentence"])
        rows = torch.tensor([bool(scene.swapped) for scene in scenes])
        texts["swapped"][rows] = encode_captions(encoder, words, [scene.swapped for scene in pairs])["sentence"]
        part = file.with_suffix(".part")
        torch.save(texts, part)
        part.replace(file)
    found: dict[str, Tensor] = torch.load(file, weights_only=True, mmap=True)
    return found


def scenes_of(count: int, seed: int) -> list[Scene]:
    """The training scenes of a seed."""
    return make_scenes(load_things(), count, seed)
