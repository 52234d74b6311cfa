"""What a language model learns: to say the next token of a text that lies in shards."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from freehold.errors import ConfigError
from freehold.training.data.batches import Batches
from freehold.training.data.records import TRAINING, VALIDATION
from freehold.training.data.shards import TokenShards
from freehold.training.language.model import LEFT_OUT, built
from freehold.training.language.recipes import LanguageRecipe
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.share import StepShare


class NextToken:
    """The objective of pre-training (`freehold.training.trainer.objective`).

    Args:
        recipe: of the model and its training.
        shards: the text.
        devices: where it is trained.

    Raises:
        ConfigError: the text does not fit the recipe.
    """

    def __init__(self, recipe: LanguageRecipe, shards: TokenShards, devices: Devices) -> None:
        if recipe.model.vocabulary < shards.vocabulary:
            raise ConfigError(
                f"model.vocabulary: the text has {shards.vocabulary} different tokens, and the model knows "
                f"{recipe.model.vocabulary}; say at least {shards.vocabulary}"
            )
        self.model = built(recipe.model)
        self.tokens_per_sample = recipe.sequence
        self.flops_per_sample = recipe.sequence * self.model.flops_per_token(recipe.sequence)
        self._recipe = recipe
        self._shards = shards
        self._devices = devices
        self._share = StepShare.of(recipe.training, devices.data_rank, devices.data_world)
        self._learnt = Batches(shards, TRAINING, recipe.sequence, recipe.training.seed)
        self._held_out = Batches(shards, VALIDATION, recipe.sequence, recipe.training.seed)
        self._order: tuple[int, NDArray[Any]] = (-1, self._learnt.order(0, 0))

    def initialise(self) -> None:
        """Make the weights where they are to lie."""
        self.model.to_empty(device=self._devices.device)
        self.model.initialise(self._recipe.training.seed)

    def batch(self, step: int, micro: int) -> tuple[Tensor, Tensor]:
        """Tokens and those that follow them, [samples, sequence] each."""
        if self._order[0] != step:
            self._order = step, self._learnt.order(step, self._recipe.training.batch)
        rows = self._share.rows(micro)
        return self._lying(*self._learnt.samples(self._order[1][rows.start : rows.stop]))

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The mean loss of a token, in nats."""
        return self.model(*batch)

    def evaluate(self, samples: int | None) -> Mapping[str, float]:
        """The loss of a token in nats, and of a byte of the text in bits, over held-out text.

        The text is cut into sequences, and every token but the first is said once. Of a part of them the loss of a byte
        is an estimate: it takes the tokens to be as long as they are in the whole.
        """
        tokens = self._shards.tokens(VALIDATION)
        starts = self._held_out.spread(samples or tokens)
        if samples is None:
            starts = np.append(starts, starts[-1] + self._recipe.sequence)  # what is left at the end, if anything
        rows = self._share.size * self._devices.data_world
        total = torch.zeros((), dtype=torch.float64, device=self._devices.device)
        for first in range(0, len(starts), rows):  # each process computes equally often, since all compute together
            total += self._loss_of(starts[first + self._devices.data_rank * self._share.size :][: self._share.size])
        said = int(np.minimum(tokens - 1 - starts, self._recipe.sequence).sum())
        loss = float(self._devices.mean(total)) * self._devices.data_world / said
        tokens_per_byte = tokens / max(1, self._shards.bytes(VALIDATION))
        return {"valid_loss": loss, "valid_bits_per_byte": loss * tokens_per_byte / math.log(2)}

    def identity(self) -> Mapping[str, Any]:
        """The model's sizes, and the data's digest."""
        return {
            "kind": "next-token",
            "model": self._recipe.model.model_dump(mode="json"),
            "sequence": self._recipe.sequence,
            "data": self._shards.sha256,
            "tokenizer": self._shards.tokenizer_sha256,
        }

    def _loss_of(self, starts: NDArray[Any]) -> Tensor:
        """The summed loss of sequences; what is missing to a whole micro-batch counts for nothing."""
        inputs = torch.zeros((self._share.size, self._recipe.sequence), dtype=torch.int64)
        targets = torch.full_like(inputs, LEFT_OUT)
        for row, start in enumerate(starts.tolist()):
            length = min(self._recipe.sequence, self._shards.tokens(VALIDATION) - 1 - start)
            window = torch.from_numpy(self._shards.read(VALIDATION, start, length + 1).astype("int64"))
            inputs[row, :length], targets[row, :length] = window[:-1], window[1:]
        return self.model(inputs.to(self._devices.device), targets.to(self._devices.device), "sum").double()

    def _lying(self, inputs: NDArray[Any], targets: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Arrays as tensors on this process's device, without waiting for it."""
        made = torch.from_numpy(inputs), torch.from_numpy(targets)
        if self._devices.device.type == "cpu":
            return made
        first, second = (each.pin_memory().to(self._devices.device, non_blocking=True) for each in made)
        return first, second
