"""What a plan says of this machine, and of the real model."""

import asyncio

import pytest

from freehold.training.language.model import built
from freehold.training.language.recipes import RECIPES, LanguageRecipe, ModelRecipe, named
from freehold.training.planning.devices import DEVICES
from freehold.training.planning.measured import measured
from freehold.training.planning.plan import plan_of
from freehold.training.planning.work import attention_flops, matrix_flops
from freehold.training.trainer.peaks import peak_of
from freehold.training.trainer.recipe import PrecisionRecipe, TrainingRecipe

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", [*RECIPES, "depth-4"])
def test_parameters_and_operations_are_the_models_own(name: str) -> None:
    """A recipe's parameters are those that the model has, and a plan's operations those that the log counts with."""
    recipe = named(name, 512)
    model = built(recipe.model)
    assert sum(weight.numel() for weight in model.parameters()) == recipe.model.parameters
    counted = matrix_flops(recipe) + attention_flops(recipe)
    assert counted == pytest.approx(model.flops_per_token(recipe.sequence) * recipe.tokens)


def test_the_peaks_are_those_of_the_log() -> None:
    """The table of devices has the peaks that the share of the peak is counted with while training."""
    names = {"a100": "A100", "h100": "H100", "h200": "H200", "b200": "B200", "l40s": "L40S", "rtx4090": "RTX 4090"}
    for name, told in {**names, "mi300x": "MI300X"}.items():
        assert DEVICES[name].flops == pytest.approx(peak_of(told), rel=0.01)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_this_machine_is_measured_and_planned_for(processes: int) -> None:
    """A small recipe's operations are all timed, and its plan has memory and a time made of them."""
    recipe = LanguageRecipe(
        name="small",
        model=ModelRecipe(vocabulary=64, layers=2, width=32, heads=2, kv_heads=1, feed_forward=64, context=32),
        sequence=32,
        training=TrainingRecipe(steps=2, batch=4, micro_batch=2, precision=PrecisionRecipe(compute="float32")),
    )
    plan = plan_of(recipe, asyncio.run(measured(recipe, processes)))
    assert plan.fits
    assert min(plan.step.forward, plan.step.backward, plan.step.optimizer) > 0
    assert (plan.step.exchanges > 0) == (processes > 1)
    assert plan.step.total < 60
    assert plan.memory.process > 50e6
