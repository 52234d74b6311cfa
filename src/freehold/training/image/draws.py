"""What a sample is drawn with: numbers that depend on the seed, the step and the sample's place in it, on nothing else.

So a step has the same noise whichever process computes it, and whether or not the training was interrupted before.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import torch
from torch import Tensor

EVALUATION: Final = -1
"""The step that held-out samples are drawn at."""

Draws = Sequence[torch.Generator]
"""One generator for each sample of a batch, on the processor."""


def draws(seed: int, step: int, places: Iterable[int]) -> Draws:
    """Generators for the samples at some places of a step."""
    found = []
    for place in places:
        word = blake2b(f"{seed} {step} {place}".encode(), digest_size=8).digest()
        found.append(torch.Generator().manual_seed(int.from_bytes(word, "big") >> 1))
    return found


def normal(each: Draws, *shape: int) -> Tensor:
    """Normal numbers of variance one, samples x shape."""
    found = torch.empty(len(each), *shape)
    for row, draw in zip(found, each, strict=True):
        row.normal_(generator=draw)
    return found


def uniform(each: Draws, *shape: int) -> Tensor:
    """Numbers from 0 to 1, samples x shape."""
    found = torch.empty(len(each), *shape)
    for row, draw in zip(found, each, strict=True):
        row.uniform_(generator=draw)
    return found


def below(each: Draws, bound: int) -> list[int]:
    """For each sample a number from 0 to `bound`, without that."""
    return [int(torch.randint(bound, (), generator=draw)) for draw in each]


def spoil(each: Draws, most: float, *shape: int) -> Tensor:
    """Normal noise to add, samples x shape: its deviation is drawn for each sample, from 0 to `most`."""
    return normal(each, *shape).mul_(most * uniform(each, *(1 for _ in shape)))
