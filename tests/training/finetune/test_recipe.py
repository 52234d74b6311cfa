"""The numbers behind "auto"."""

from pathlib import Path

import pytest

from freehold.training.finetune.protocol import Base, Hyperparameters, Method, Task
from freehold.training.finetune.recipe import MICRO_TOKENS, micro_batch, resolve


def task(method: Method = "supervised", max_steps: int | None = None, **chosen: object) -> Task:
    base = Base(name="base", path=Path("base.gguf"), sha256="ab" * 32)
    numbers = Hyperparameters.model_validate(chosen)
    return Task(method=method, base=base, name="ft", hyperparameters=numbers, max_steps=max_steps)


@pytest.mark.parametrize(
    ("examples", "epochs", "batch", "steps"), [(10, 10, 8, 20), (200, 3, 8, 75), (5000, 2, 16, 626)]
)
def test_few_examples_are_seen_more_often(examples: int, epochs: int, batch: int, steps: int) -> None:
    """Epochs, batches and steps follow from how many examples there are."""
    recipe = resolve(task(), examples)
    assert (recipe.n_epochs, recipe.batch_size, recipe.total_steps) == (epochs, batch, steps)


def test_what_is_chosen_counts() -> None:
    """Chosen numbers take the place of those behind "auto", and the multiplier scales the rate of learning."""
    recipe = resolve(task(n_epochs=4, batch_size=20, learning_rate_multiplier=2.0), 100)
    assert (recipe.n_epochs, recipe.batch_size, recipe.total_steps) == (4, 20, 20)
    assert recipe.learning_rate == 2 * resolve(task(), 100).learning_rate
    assert resolve(task(max_steps=7), 100).total_steps == 7


def test_each_method_has_its_own_numbers() -> None:
    """Beta is of preferences; answers to compare and their length are of reinforcement."""
    assert resolve(task("dpo", beta=0.3), 100).told()["beta"] == 0.3
    reinforced = resolve(task("reinforcement", compute_multiplier=0.5, reasoning_effort="low"), 100)
    assert (reinforced.generations, reinforced.answer_tokens, reinforced.total_steps) == (4, 32, 25)
    assert "generations" not in resolve(task(), 100).told()


def test_a_batch_larger_than_the_file_is_the_file() -> None:
    """Ten examples in batches of 256 are one batch."""
    assert resolve(task(batch_size=256, n_epochs=1), 10).total_steps == 1


@pytest.mark.parametrize(("batch", "longest", "expected"), [(8, 100, 8), (8, MICRO_TOKENS // 4, 4), (7, 9999, 1)])
def test_long_examples_go_through_the_model_in_smaller_parts(batch: int, longest: int, expected: int) -> None:
    """A batch is cut into equal parts that memory allows."""
    assert micro_batch(batch, longest) == expected
