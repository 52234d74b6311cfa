"""What the painter's stages have in common as objectives: which samples make a step, how held-out ones are judged."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from freehold.training.data.batches import Order
from freehold.training.data.records import TRAINING, VALIDATION, RecordShards
from freehold.training.image.draws import EVALUATION, Draws, below, draws
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.recipe import TrainingRecipe
from freehold.training.trainer.share import StepShare

BatchT = TypeVar("BatchT")
Rows = NDArray[np.int64]
"""Numbers of records."""
PICTURE: Final = "picture"
"""The field of pictures: views x side x side x 3."""
COUNTED: Final = 2
"""Samples that floating-point operations are counted over."""


class StageObjective(ABC, Generic[BatchT]):
    """One stage. A subclass says what a sample is made of, and what its loss is.

    Args:
        model: what learns, its weights drawn already.
        recipe: of its training.
        records: what its samples are made of; the rows of a step are those of a permutation that is new each epoch.
        devices: that it is trained on.
    """

    tokens_per_sample: int

    def __init__(self, model: nn.Module, recipe: TrainingRecipe, records: RecordShards, devices: Devices) -> None:
        self.model = model
        self.flops_per_sample = 0.0
        self._recipe = recipe
        self._records = records
        self._device = devices.device
        self._share = StepShare.of(recipe, devices.data_rank, devices.data_world)
        self._order = Order(records.records(TRAINING), recipe.seed)

    @abstractmethod
    def samples(self, split: str, rows: Rows, each: Draws) -> BatchT:
        """Samples of records, with what is drawn for them, on the device."""

    @abstractmethod
    def loss(self, batch: BatchT) -> Tensor:
        """The mean loss of samples: a scalar."""

    def measures(self, batch: BatchT) -> Mapping[str, float]:  # noqa: ARG002  # some stages measure something
        """What held-out samples say besides the loss."""
        return {}

    def conditions(self) -> Mapping[str, Any]:
        """What else the training depends on."""
        return {}

    def initialise(self) -> None:
        """Nothing: networks of this size have their first weights, by the seed, before they are laid on devices."""

    def batch(self, step: int, micro: int) -> BatchT:
        """The samples of one micro-batch of a step for this process."""
        places = self._share.rows(micro)
        _, rows = self._order.at(step * self._recipe.batch + np.array(places))
        return self.samples(TRAINING, rows, draws(self._recipe.seed, step, places))

    @torch.no_grad()
    def evaluate(self, samples: int | None) -> Mapping[str, float]:
        """The mean loss, and what else there is, of the first held-out records; each process computes all of them.

        They go through the model in whole batches, since the contrast depends on what else is in one.
        """
        size, there = self._recipe.micro_batch, self._records.records(VALIDATION)
        count = max(1, min(samples or there, there) // size) * size
        sums: dict[str, float] = {}
        for first in range(0, count, size):
            places = np.arange(first, first + size)
            batch = self.samples(VALIDATION, places % there, draws(self._recipe.seed, EVALUATION, places))
            found = {"valid_loss": float(self.loss(batch)), **self.measures(batch)}
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value * size / count
        return sums

    def identity(self) -> Mapping[str, Any]:
        """The stage's name, the shape of its weights, the data, and what else it depends on."""
        shapes = "".join(f"{name} {tuple(each.shape)}\n" for name, each in self.model.named_parameters())
        return {
            "objective": type(self).__name__,
            "parameters": sum(each.numel() for each in self.model.parameters()),
            "shapes": hashlib.sha256(shapes.encode()).hexdigest(),
            "data": self._records.sha256,
            **self.conditions(),
        }

    def count_flops(self) -> None:
        """Measure `flops_per_sample`: the products and convolutions of a pass forward and backward, as torch counts."""
        places = np.arange(COUNTED)
        batch = self.samples(TRAINING, places, draws(self._recipe.seed, EVALUATION, places))
        with FlopCounterMode(display=False) as counter:
            self.loss(batch).backward()
        self.model.zero_grad(set_to_none=True)
        self.flops_per_sample = counter.get_total_flops() / COUNTED

    def pictures(self, split: str, rows: Rows, each: Draws) -> Tensor:
        """One picture of each record, drawn among its views, batch x 3 x side x side, from -1 to 1."""
        of_rows = [self._records.read(split, PICTURE, int(row), 1)[0] for row in rows]
        chosen = below(each, self._records.fields[PICTURE].shape[0])
        return self.scaled(np.stack([views[view] for views, view in zip(of_rows, chosen, strict=True)]))

    def scaled(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Pixels, batch x height x width x 3, as numbers from -1 to 1, colours first."""
        return self.here(torch.from_numpy(pixels)).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()

    def field(self, name: str, split: str, rows: Rows) -> Tensor:
        """A field of records, in single precision."""
        return self.here(torch.from_numpy(self._records.take(split, name, rows))).float()

    def here(self, drawn: Tensor) -> Tensor:
        """The same on the device."""
        return drawn.to(self._device)
