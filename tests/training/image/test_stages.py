"""The stages as objectives: what makes a step, what its loss is, and what tells one training from another."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from freehold.training.image.draws import draws, normal, spoil, uniform
from freehold.training.image.looking import Looking
from freehold.training.image.objective import StageObjective
from freehold.training.image.recipes import STAGES
from freehold.training.image.scene_shards import prepare_vectors
from freehold.training.image.stages import DecoderStage, EncoderStage, PriorStage, UpsamplerStage
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.recipe import Layout
from tests.training.image.small import large, scenes, small_recipe

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
ALONE = Devices(CPU, Layout(1, 1, 1))
RECIPE = small_recipe(**{name: {"batch": 4, "micro_batch": 4} for name in STAGES})
Make = Callable[..., StageObjective[Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes a stage's objective, of one set of scenes."""
    folder = tmp_path_factory.mktemp("painter")
    torch.manual_seed(5)
    looking = Looking().eval().requires_grad_(requires_grad=False)
    vectors = prepare_vectors(folder / "vectors", scenes(folder), looking.encoder, "untrained", lambda _: None)

    def make(stage: str, devices: Devices = ALONE, encoder: str = "untrained") -> StageObjective[Any]:
        recipe = RECIPE.stage(stage)
        if stage == "encoder":
            return EncoderStage(recipe, scenes(folder), devices)
        if stage == "prior":
            return PriorStage(recipe, scenes(folder), devices, vectors)
        if stage == "decoder":
            return DecoderStage(recipe, scenes(folder), devices, looking, encoder)
        return UpsamplerStage(recipe, large(folder), devices)

    return make


def tensors(batch: Any) -> dict[str, Tensor]:
    """The tensors of a batch by name."""
    return {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}


def equal(one: Any, other: Any) -> bool:
    """Whether batches are equal to the bit."""
    return all(torch.equal(each, tensors(other)[name]) for name, each in tensors(one).items())


@pytest.mark.parametrize("stage", STAGES)
def test_a_batch_depends_on_its_step_alone(stage: str, made: Make) -> None:
    """The same step gives the same samples and noise, in whatever order steps are asked for; another gives others."""
    objective, again = made(stage), made(stage)
    objective.batch(0, 0)
    assert equal(objective.batch(3, 0), again.batch(3, 0))
    assert not equal(objective.batch(3, 0), objective.batch(4, 0))


@pytest.mark.parametrize("stage", STAGES)
def test_processes_share_the_samples_of_a_step(stage: str, made: Make) -> None:
    """What two processes take is together what one takes alone, noise included."""
    parts = [made(stage, Devices(CPU, Layout(1, 2, 1), rank)).batch(2, 0) for rank in (0, 1)]
    whole = tensors(made(stage).batch(2, 0))
    for name, each in whole.items():
        assert torch.equal(torch.cat([tensors(part)[name] for part in parts]), each), name


@pytest.mark.parametrize("stage", STAGES)
def test_everything_learns(stage: str, made: Make) -> None:
    """After two steps every weight of a stage has a gradient, and the loss is a number."""
    objective = made(stage)
    optimizer = torch.optim.SGD(objective.model.parameters(), lr=1e-3)
    for step in (0, 1):
        optimizer.zero_grad()
        loss = objective.loss(objective.batch(step, 0))
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
    still = [name for name, each in objective.model.named_parameters() if each.grad is None or not each.grad.any()]
    assert still == []


@pytest.mark.parametrize("stage", STAGES)
def test_evaluations_are_the_same(stage: str, made: Make) -> None:
    """Held-out samples say the same each time, whatever batches were taken between."""
    objective = made(stage)
    first = objective.evaluate(8)
    objective.batch(1, 0)
    assert objective.evaluate(8) == first
    assert first["valid_loss"] > 0


@pytest.mark.parametrize("stage", STAGES)
def test_a_sample_has_its_operations(stage: str, made: Make) -> None:
    """A pass forward and backward takes at least six operations for each weight that a sample meets."""
    objective = made(stage)
    objective.count_flops()
    assert objective.flops_per_sample > 4 * sum(each.numel() for each in objective.model.parameters())
    assert all(each.grad is None for each in objective.model.parameters())


def test_a_decoder_belongs_to_its_encoder(made: Make) -> None:
    """With another picture encoder it is another training; with the same it is the same."""
    assert made("decoder").identity() == made("decoder").identity()
    assert made("decoder").identity() != made("decoder", encoder="another").identity()


def test_draws_are_of_the_place() -> None:
    """A sample's noise is the same among others as alone, and no two samples have the same."""
    several = draws(1, 2, range(5))
    normal(several, 3)
    values = normal(several, 100)
    alone = draws(1, 2, [3])
    normal(alone, 3)
    assert torch.equal(normal(alone, 100)[0], values[3])
    assert len({tuple(row.tolist()) for row in values}) == 5


def test_draws_have_their_distribution() -> None:
    """Normal numbers have deviation one, uniform ones lie between 0 and 1, and spoiling has a bound."""
    each = draws(1, 0, range(2_000))
    assert abs(float(normal(each, 50).std()) - 1) < 0.02
    even = uniform(each, 50)
    assert 0 <= float(even.min()) < 0.001
    assert 0.999 < float(even.max()) < 1
    assert abs(float(even.mean()) - 0.5) < 0.01
    assert float(spoil(each, 0.5, 50).std(dim=1).max()) < 0.75
