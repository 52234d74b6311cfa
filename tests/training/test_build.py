"""`freehold train image`, as far as it goes without the extra that has torch."""

import asyncio
from importlib.util import find_spec
from pathlib import Path

import pytest

from freehold.errors import ConfigError
from freehold.training.image.build import build
from freehold.training.image.recipe import Recipe


def test_training_tells_what_it_lacks(tmp_path: Path) -> None:
    """Without the extra `train` nothing begins, and the error says what to install."""
    if find_spec("torch") is not None:
        pytest.skip("torch is installed here")
    with pytest.raises(ConfigError, match=r"freehold\[train\]"):
        asyncio.run(build(Recipe(), tmp_path, print, resume=False))
    assert list(tmp_path.iterdir()) == []


def test_the_recipe_shares_its_time() -> None:
    """What trains beside the decoder is finished before it."""
    recipe = Recipe(minutes=100)
    assert recipe.encoder_minutes > 0
    assert 0 < recipe.prior_minutes + recipe.upsampler_minutes < recipe.minutes
