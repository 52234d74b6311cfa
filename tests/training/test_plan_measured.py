"""What a plan says of this machine, and of the real model."""

import asyncio

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from freehold.training.language.model import built
from freehold.training.language.recipes import RECIPES, LanguageRecipe, ModelRecipe, named
from freehold.training.planning.devices import DEVICES
from freehold.training.planning.measured import measured
from freehold.training.planning.memory import Room, memory_of
from freehold.training.planning.plan import plan_of
from freehold.training.planning.work import attention_flops, matrix_flops
from freehold.training.trainer.optimizers import optimizers_of
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.peaks import peak_of
from freehold.training.trainer.recipe import Layout, ParallelRecipe, PrecisionRecipe, TrainingRecipe

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


@pytest.mark.parametrize("again", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize(
    ("vocabulary", "sequence", "moments"),
    [
        (2048, 512, {"loss"}),
        (32, 1024, {"loss", "way back", "end of the way back"}),
        (4096, 16, {"end of the way back"}),
    ],
    ids=["logits", "blocks", "embedding"],
)
def test_the_formula_is_what_a_step_allocates(vocabulary: int, sequence: int, moments: set[str], again: bool) -> None:
    """The most that torch has at once in a step is the formula's, whichever moment has it, within 5 %."""
    sizes = {"layers": 4, "width": 64, "heads": 4, "kv_heads": 2, "feed_forward": 192, "context": 1024}
    recipe = LanguageRecipe(
        name="small",
        model=ModelRecipe.model_validate({"vocabulary": vocabulary, **sizes}),
        sequence=sequence,
        training=TrainingRecipe(
            steps=1,
            batch=1,
            micro_batch=1,
            precision=PrecisionRecipe(compute="float32"),
            parallel=ParallelRecipe(activation_checkpointing=again),
        ),
    )
    memory = memory_of(recipe, Layout(1, 1, 1), Room(4, False, True, 0, 0.0))
    passing = {name: size for name, size in memory.moments.items() if name != "checkpoint"}
    found = memory.weights + memory.optimizer + allocated(recipe)
    assert found == pytest.approx(max(passing.values()), rel=0.05)
    assert max(passing, key=lambda name: passing[name]) in moments


def allocated(recipe: LanguageRecipe) -> int:
    """The most bytes that a step has above weights and states, as torch's allocator counts them."""
    with Devices.open(recipe.training.parallel, "cpu") as devices:
        model = built(recipe.model)
        devices.distribute(model, recipe.training)
        model.to_empty(device="cpu").initialise(1)
        optimizers = optimizers_of(model, recipe.training.optimizer)

        def step() -> None:
            tokens = torch.randint(0, recipe.model.vocabulary, (recipe.training.batch, recipe.sequence))
            model(tokens, tokens).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()

        step()  # states are made
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            step()
    events = [each for each in profiled.profiler.kineto_results.events() if each.name() == "[memory]"]
    there = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        there += event.nbytes()
        most = max(most, there)
    return most
