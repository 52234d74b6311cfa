"""The painter's recipes."""

from pathlib import Path

import pytest

from freehold.errors import ConfigError
from freehold.training.image.recipes import FILE, RECIPES, STAGES, TIME, PainterTraining, recorded, starter
from freehold.training.trainer.recipe import changed


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_is_complete_and_comes_back_from_its_json(name: str, tmp_path: Path) -> None:
    """What is written down beside a training is the recipe that it was begun with."""
    training = PainterTraining(recipe=RECIPES[name](7), minutes=1.5)
    assert training.recipe.scenes.seed == 7
    assert {training.recipe.stage(stage).seed for stage in STAGES} == {7}
    (tmp_path / FILE).write_text(training.model_dump_json(), encoding="utf-8")
    assert recorded(tmp_path) == training


def test_numbers_of_a_stage_can_be_others() -> None:
    """A path leads through the stage to any of its numbers."""
    recipe = changed(starter(), {"decoder.steps": "12", "encoder.optimizer.learning_rate": "0.001"})
    assert recipe.decoder.steps == 12
    assert recipe.encoder.optimizer.learning_rate == 0.001
    assert recipe.prior == starter().prior


def test_what_trains_beside_the_decoder_is_done_before_it() -> None:
    """Prior and up-sampler share the other process, one after the other."""
    assert 0 < TIME["prior"] + TIME["upsampler"] < TIME["decoder"]
    assert set(TIME) == set(STAGES)


@pytest.mark.parametrize("text", ["{", "[]", '{"recipe": 1}'])
def test_a_damaged_recipe_is_named(text: str, tmp_path: Path) -> None:
    """A file that is no recipe is an error, not a new beginning."""
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        recorded(tmp_path)
