"""Recipes: what they hold to, and how their values are changed."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from freehold.errors import ConfigError
from freehold.training.language.recipes import RECIPES, LanguageRecipe, depth, named
from freehold.training.trainer.identity import decisive, difference
from freehold.training.trainer.recipe import TrainingRecipe, changed, read
from freehold.training.trainer.share import StepShare

SMALL: dict[str, Any] = {"steps": 10, "batch": 12, "micro_batch": 4}


@pytest.mark.parametrize("name", [*RECIPES, "depth-4", "depth-20"])
def test_round_trip(name: str) -> None:
    """Every recipe is written down and read again as it was, with the vocabulary of the tokenizer at hand."""
    recipe = named(name, 1024)
    assert recipe.model.vocabulary == 1024
    assert read(LanguageRecipe, recipe.model_dump(mode="json")) == recipe


def test_sizes() -> None:
    """The recipes have the sizes that they are named for."""
    assert named("shakespeare", 260).model.parameters <= 804_096  # nanoGPT's at the same shape, with 65 characters
    assert named("shakespeare_gpu", 260).model.parameters <= 10_745_088
    assert named("gpt2", 50_304).model.parameters == pytest.approx(124e6, rel=0.01)
    assert named("llama_1b", 128_256).model.parameters == pytest.approx(1.236e9, rel=0.001)
    assert named("gpt3", 50_257).model.parameters == pytest.approx(175e9, rel=0.01)
    assert named("gpt3", 50_257).tokens == pytest.approx(300e9, rel=0.001)


def test_dial() -> None:
    """Each further layer gives a larger model, more tokens, and steps that are no longer."""
    recipes = [depth(layers, 32_768) for layers in (4, 8, 12, 20, 32)]
    assert [each.name for each in recipes] == ["depth-4", "depth-8", "depth-12", "depth-20", "depth-32"]
    for smaller, larger in pairwise(recipes):
        assert larger.model.parameters > smaller.model.parameters
        assert larger.tokens > smaller.tokens
        assert larger.training.batch >= smaller.training.batch
    for each in recipes:
        assert each.tokens == pytest.approx(20 * each.model.parameters, rel=0.01)


@pytest.mark.parametrize("name", ["nothing", "depth-0", "depth-", "depth-1000", "gpt2.json"])
def test_unknown(name: str) -> None:
    """A name that no recipe has is refused, and those that there are are named."""
    with pytest.raises(ConfigError, match=r"shakespeare.*depth-N"):
        named(name, 1024)


def test_changed() -> None:
    """A value is changed at its path, and everything else stays."""
    before = named("shakespeare", 260)
    after = changed(before, {"training.steps": "20", "training.optimizer.kind": "adamw", "name": "mine"})
    assert (after.training.steps, after.training.optimizer.kind, after.name) == (20, "adamw", "mine")
    assert after.model == before.model


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"training.step": "20"}, "no 'training.step'.*training.steps"),
        ({"training.steps.more": "20"}, "no 'training.steps.more'"),
        ({"training.steps": "none"}, "training.steps"),
        ({"training.steps": "0"}, "training.steps.*greater than or equal to 1"),
        ({"training.optimizer.kind": "sgd"}, "training.optimizer.kind"),
        ({"training.micro_batch": "5"}, "training.*multiple of micro_batch"),
        ({"model.heads": "3"}, "model.*multiple of twice the heads"),
        ({"sequence": "128"}, "longer than the model's context"),
    ],
)
def test_refused(settings: Mapping[str, str], told: str) -> None:
    """A path that there is not, or a value that is not possible, is named."""
    with pytest.raises(ConfigError, match=told):
        changed(named("shakespeare", 260), settings)


@pytest.mark.parametrize(("world", "size", "pieces"), [(1, 4, 3), (2, 3, 2), (3, 4, 1), (6, 2, 1)])
def test_shares(world: int, size: int, pieces: int) -> None:
    """The micro-batches of all processes together are the step's samples, each once."""
    shares = [StepShare.of(TrainingRecipe(**SMALL), rank, world) for rank in range(world)]
    assert {(each.size, each.pieces) for each in shares} == {(size, pieces)}
    rows = [row for micro in range(pieces) for share in shares for row in share.rows(micro)]
    assert rows == list(range(12))


def test_share_refused() -> None:
    """Samples that cannot be divided among the devices are refused, with a number that can."""
    with pytest.raises(ConfigError, match=r"12 samples .* 5 groups .*training.batch=15"):
        StepShare.of(TrainingRecipe(**SMALL), 0, 5)


def test_identity() -> None:
    """What changes rounding only is no part of a training's identity; what changes more is, and is named."""
    recipe = TrainingRecipe(**SMALL)
    same: dict[str, Any] = {**SMALL, "micro_batch": 2, "log_every": 3}
    assert difference(decisive(TrainingRecipe(**same)), decisive(recipe)) is None
    other = TrainingRecipe(**{**SMALL, "steps": 11})
    assert difference(decisive(other), decisive(recipe)) == "steps is 10 there and 11 here"
