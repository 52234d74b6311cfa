"""What a sample is drawn with: numbers that depend on the seed, the step and the sample's place in it, on nothing else.

So a step has the same noise whichever process computes it, and whether or not the training was interrupted before.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

EVALUATION: Final = 2**64 - 1
"""The step that held-out samples are drawn at."""

Draws = Sequence[np.random.Generator]
"""One generator for each sample of a batch."""


def draws(seed: int, step: int, places: Iterable[int]) -> Draws:
    """Generators for samples of a step: Philox (Salmon et al., 2011), keyed by seed and step, counted by the place."""
    return [
        np.random.Generator(np.random.Philox(key=np.array([seed, step], np.uint64), counter=[0, 0, 0, int(place)]))
        for place in places
    ]


def normal(each: Draws, *shape: int) -> Tensor:
    """Normal numbers of variance one, samples x shape."""
    found = np.empty((len(each), *shape), np.float32)
    for index, draw in enumerate(each):
        found[index] = draw.standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(found)


def uniform(each: Draws, *shape: int) -> Tensor:
    """Numbers from 0 to 1, samples x shape."""
    found = np.empty((len(each), *shape), np.float32)
    for index, draw in enumerate(each):
        found[index] = draw.random(shape, dtype=np.float32)
    return torch.from_numpy(found)


def spoil(each: Draws, most: float, *shape: int) -> Tensor:
    """Normal noise to add, samples x shape: its deviation is drawn for each sample, from 0 to `most`."""
    return most * uniform(each, *(1 for _ in shape)) * normal(each, *shape)
