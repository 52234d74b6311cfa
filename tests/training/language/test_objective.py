"""The next token of prepared texts: which samples a process takes, and what held-out text says."""

import math

import numpy as np
import pytest
import torch

from freehold.errors import ConfigError
from freehold.training.data.records import VALIDATION
from freehold.training.data.shards import TokenShards
from freehold.training.language.model import GPT
from freehold.training.language.objective import NextToken
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.recipe import ParallelRecipe, changed
from tests.training.language.texts import prepared, small_recipe

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    return prepared(tmp_path_factory.mktemp("text"))


def objective(shards: TokenShards, **settings: str) -> NextToken:
    """An objective with weights, on the processor."""
    recipe = changed(small_recipe(), {name.replace("__", "."): value for name, value in settings.items()})
    with Devices.open(ParallelRecipe(), "cpu") as devices:
        made = NextToken(recipe, shards, devices)
        made.initialise()
        return made


def by_hand(model: GPT, tokens: np.ndarray, sequence: int) -> float:
    """The mean loss of all tokens but the first, one sequence at a time."""
    total, said = 0.0, 0
    for start in range(0, len(tokens) - 1, sequence):
        window = torch.from_numpy(tokens[start : start + sequence + 1].astype("int64"))[None]
        total += model(window[:, :-1], window[:, 1:], "sum").item()
        said += window.shape[1] - 1
    return total / said


def test_batches(shards: TokenShards) -> None:
    """A micro-batch is the same for the same arguments, others are others, and targets are what follows."""
    text = objective(shards, training__micro_batch="4")
    inputs, targets = text.batch(3, 1)
    again, _ = text.batch(3, 1)
    other, _ = text.batch(3, 0)
    assert inputs.shape == targets.shape == (4, 16)
    assert torch.equal(inputs, again)
    assert not torch.equal(inputs, other)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_pieces_are_the_batch(shards: TokenShards) -> None:
    """Small micro-batches have the samples of a large one."""
    whole, _ = objective(shards).batch(5, 0)
    pieces = objective(shards, training__micro_batch="2")
    assert torch.equal(torch.cat([pieces.batch(5, micro)[0] for micro in range(4)]), whole)


def test_whole(shards: TokenShards) -> None:
    """All of the held-out text is measured, to its last token, and the loss of a byte is that of a token here."""
    text = objective(shards)
    tokens = shards.read(VALIDATION, 0, shards.tokens(VALIDATION))
    assert (len(tokens) - 1) % 16 != 0
    with torch.no_grad():
        metrics = text.evaluate(None)
        expected = by_hand(text.model, tokens, 16)
    assert metrics["valid_loss"] == pytest.approx(expected, rel=1e-6)
    assert metrics["valid_bits_per_byte"] == pytest.approx(expected / math.log(2), rel=1e-6)


def test_part(shards: TokenShards) -> None:
    """A part of the held-out text is always the same part, and says about the same as the whole."""
    text = objective(shards)
    with torch.no_grad():
        part = text.evaluate(20)
        assert part == text.evaluate(20)
        assert part["valid_loss"] == pytest.approx(text.evaluate(None)["valid_loss"], rel=0.05)


def test_small_vocabulary(shards: TokenShards) -> None:
    """A model that knows fewer tokens than the text has is refused."""
    with pytest.raises(ConfigError, match=r"model.vocabulary.*260 different tokens.*259"):
        objective(shards, model__vocabulary="259")


def test_identity(shards: TokenShards) -> None:
    """Another model or another text is another objective."""
    one, same = objective(shards), objective(shards, training__steps="3")
    assert one.identity() == same.identity()
    assert objective(shards, model__feed_forward="32").identity() != one.identity()
