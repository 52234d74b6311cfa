"""What a training is predicted to need, against papers and published runs."""

from dataclasses import replace
from math import isclose, log

import pytest

from freehold.errors import ConfigError
from freehold.training.language.recipes import LanguageRecipe, depth, gpt2, gpt3, most_logits
from freehold.training.planning.devices import DEVICES, device_named
from freehold.training.planning.measured import Asked, measured_from
from freehold.training.planning.memory import Room, memory_of
from freehold.training.planning.optimum import LAWS, RATIO, SOURCES, optimum
from freehold.training.planning.plan import DAY_S, HOUR_S, Accelerators, best_plan, fewest_devices, plan_of
from freehold.training.planning.shapes import GPT3, VOCABULARY, model_of
from freehold.training.planning.timing import Roofline, step_time
from freehold.training.planning.wanted import plan_for_money, recipe_of
from freehold.training.planning.work import attention_flops, matrices, matrix_flops, work_of
from freehold.training.trainer.recipe import Layout, changed

H100 = DEVICES["h100"]
GPT3_FLOPS = 3.14e23
"""Of Brown et al. (arXiv 2005.14165), table D.1."""
ROOM = Room(number=2, fused=True, on_host=False, process=0, allowance=0.0)


def _sites(devices: int, name: str = "h100") -> Accelerators:
    return Accelerators(device_named(name), devices)


def test_gpt3_has_the_operations_of_its_paper() -> None:
    """175 B parameters on 300 B tokens are 3.14e23 operations within 2 %, from bare numbers as from the recipe."""
    for recipe in (recipe_of(175e9, 300e9), gpt3(VOCABULARY)):
        assert isclose(matrix_flops(recipe), GPT3_FLOPS, rel_tol=0.02)
        assert attention_flops(recipe) < 0.03 * matrix_flops(recipe)


@pytest.mark.parametrize("row", GPT3, ids=lambda row: f"{row[0]:.3g}")
def test_a_size_has_the_papers_shape(row: tuple[float, int, int, int, float]) -> None:
    """Each of the paper's sizes comes out within 4 % of its parameters, and near its layers and width."""
    parameters, layers, width, _, _ = row
    model = model_of(parameters)
    assert isclose(model.parameters, parameters, rel_tol=0.04)
    assert abs(log(model.layers / layers)) < 0.3
    assert abs(log(model.width / width)) < 0.2


def test_gpt3s_own_shape_is_found() -> None:
    """175 B parameters are 96 layers of width 12,288 with 96 heads."""
    model = model_of(175e9)
    assert (model.layers, model.width, model.heads) == (96, 12_288, 96)


@pytest.mark.parametrize("parameters", [3e5, 2e6, 5e7, 1e9, 3e10, 7e11])
def test_any_size_has_a_shape(parameters: float) -> None:
    """The number of parameters comes within 12 % of what was asked for, for small models as for large."""
    assert isclose(model_of(parameters, vocabulary=512).parameters, parameters, rel_tol=0.12)


def test_what_no_model_has_is_refused() -> None:
    """Too few parameters, for a model or for its vocabulary, are told with what to change."""
    with pytest.raises(ConfigError, match="at least"):
        model_of(1000)
    with pytest.raises(ConfigError, match="--vocabulary"):
        model_of(1e6, vocabulary=100_000)
    with pytest.raises(ConfigError, match="--tokens"):
        recipe_of(1e8, 100)


@pytest.mark.parametrize("flops", [1e19, 5.76e23])
@pytest.mark.parametrize("name", sorted(LAWS))
def test_the_optimum_of_a_law_has_the_least_loss(name: str, flops: float) -> None:
    """More parameters and fewer tokens, or the other way round, leave more loss for the same operations."""
    law, best = LAWS[name], optimum(flops, name)
    assert isclose(6 * best.parameters * best.tokens, flops, rel_tol=1e-9)
    least = law.loss(best.parameters, best.tokens)
    for factor in (0.8, 1.25):
        assert law.loss(best.parameters * factor, best.tokens / factor) > least


def test_chinchilla_is_the_optimum_of_its_budget() -> None:
    """Gopher's budget, 5.76e23 operations, is best spent on about 70 B parameters and 1.4 T tokens by the ratio."""
    best = optimum(5.76e23, RATIO)
    assert isclose(best.parameters, 70e9, rel_tol=0.02)
    assert isclose(best.tokens, 1.4e12, rel_tol=0.02)


def test_the_new_fit_comes_back_to_the_ratio() -> None:
    """At Chinchilla's budget the refitted law has 15 to 30 tokens a parameter."""
    best = optimum(5.76e23, "refit")
    assert 15 < best.tokens / best.parameters < 30


def test_depth_20_on_eight_h100_takes_a_few_hours() -> None:
    """A nanochat-like run of depth 20, about 4e19 operations and 3 hours by its author, comes within a third."""
    recipe = depth(20, 65_536)
    plan = best_plan(recipe, _sites(8))
    whole = sum(plan.flops.values())
    assert isclose(whole, 4e19, rel_tol=0.25)
    assert isclose(plan.seconds * 4e19 / whole, 3 * HOUR_S, rel_tol=0.33)


def test_gpt2_is_trained_in_an_hour_or_two_on_eight_h100() -> None:
    """GPT-2's smallest size on 10 B tokens, 1.5 hours on eight A100 with llm.c, is planned within a third."""
    plan = best_plan(gpt2(VOCABULARY), _sites(8, "a100"))
    assert isclose(plan.seconds, 1.5 * HOUR_S, rel_tol=0.33)


def test_gpt3_fits_on_a_thousand_h100_and_not_on_eight() -> None:
    """A plan of 1,024 devices fits and takes days; eight do not hold the weights, and how many would is found."""
    recipe = recipe_of(175e9, 300e9)
    plan = best_plan(recipe, _sites(1024), batch_is_free=True)
    assert plan.fits
    assert 5 < plan.seconds / DAY_S < 20
    assert 0.3 < plan.utilization < 0.6
    small = best_plan(recipe, _sites(8), batch_is_free=True)
    assert not small.fits
    fewest = fewest_devices(recipe, _sites)
    assert fewest is not None
    assert fewest >= 175e9 * 16 / H100.memory_bytes
    assert not best_plan(recipe, _sites(fewest // 2), batch_is_free=True).fits


@pytest.mark.parametrize(("compiled", "each"), [(True, 2), (False, 12)])
def test_a_gpu_holds_as_many_logits_as_the_model_makes_at_once(compiled: bool, each: int) -> None:
    """Up to as many as the model makes at once all are counted, once where the loss is compiled; beyond, a piece is."""
    recipe, room = depth(20, 2**16), Room(2, compiled, False, 0, 0.0)
    samples = most_logits(compiled=compiled) // (2**16 * recipe.sequence)

    def taken(more: int) -> int:
        training = dict.fromkeys(("training.batch", "training.micro_batch"), str(samples + more))
        return memory_of(changed(recipe, training), Layout(1, 1, 1), room).logits

    assert isclose(taken(0), each * most_logits(compiled=compiled), rel_tol=0.1)
    assert taken(2) - taken(1) < 2**16 * recipe.sequence, "of more only what the last norm takes"


def test_weights_and_states_take_sixteen_bytes_a_parameter() -> None:
    """With AdamW on one device, weights, gradients and two means have four bytes each; shards divide them."""
    recipe = gpt2(VOCABULARY)
    recipe = changed(recipe, {"training.optimizer.kind": "adamw"})
    one = memory_of(recipe, Layout(1, 1, 1), ROOM)
    assert one.weights + one.gradients + one.optimizer == 16 * recipe.model.parameters
    eight = memory_of(changed(recipe, {"training.micro_batch": "64"}), Layout(1, 8, 1), ROOM)
    assert eight.weights + eight.gradients + eight.optimizer == pytest.approx(2 * recipe.model.parameters, abs=64)


def test_muon_keeps_one_number_less() -> None:
    """Muon's state has four bytes for each number of a block's matrices, and AdamW's eight for the rest."""
    recipe = gpt2(VOCABULARY)
    inside = recipe.model.layers * sum(rows * columns for rows, columns in matrices(recipe.model))
    found = memory_of(recipe, Layout(1, 1, 1), ROOM)
    assert found.optimizer == 8 * recipe.model.parameters - 4 * inside


def test_recomputation_trades_memory_for_time() -> None:
    """With activation checkpointing less is kept, and the way back takes longer."""
    recipe = gpt2(VOCABULARY)
    plain = plan_of(recipe, _sites(1))
    again = plan_of(changed(recipe, {"training.parallel.activation_checkpointing": "true"}), _sites(1))
    assert again.memory.activations < 0.3 * plain.memory.activations
    assert again.memory.peak < plain.memory.peak
    assert again.step.backward == pytest.approx(plain.step.backward + plain.step.forward, rel=0.2)
    assert again.step.forward == plain.step.forward


def test_activations_are_those_of_the_paper() -> None:
    """A block keeps what Korthikanti et al. count, 34 s b h bytes, within a fifth: no dropout, but wider layers."""
    recipe = recipe_of(175e9, 300e9)
    model = recipe.model
    found = memory_of(recipe, Layout(1, recipe.training.batch, 1), ROOM)
    assert isclose(found.activations / model.layers, 34 * recipe.sequence * model.width, rel_tol=0.2)


def test_gradients_that_are_added_up_are_whole() -> None:
    """Under FSDP2, gradients of several micro-batches lie unsharded on each device."""
    recipe = changed(gpt2(VOCABULARY), {"training.micro_batch": "32"})
    layout = Layout(1, 8, 1)
    assert memory_of(recipe, layout, ROOM).gradients == 4 * recipe.model.parameters
    at_once = changed(recipe, {"training.micro_batch": "64"})
    assert memory_of(at_once, layout, ROOM).gradients == pytest.approx(recipe.model.parameters / 2, abs=8)


def test_the_operations_of_a_step_add_up() -> None:
    """Products are six for each parameter and token, there and back; causal attention is half of the usual count."""
    recipe = gpt2(VOCABULARY)
    work = work_of(recipe, 1)
    every = [(each, recipe.model.layers) for each in work.block] + [(each, 1) for each in work.ends]
    flops = {
        kind: sum((each.flops + each.flops_back) * each.count * times for each, times in every if each.kind == kind)
        for kind in ("product", "attention")
    }
    vectors = (2 * recipe.model.layers + 1) * recipe.model.width
    assert flops["product"] == 6.0 * (recipe.model.parameters - vectors) * recipe.sequence
    per_sample = 12 * recipe.model.layers * recipe.model.width * recipe.sequence**2
    assert flops["attention"] == pytest.approx(per_sample * (1 + 2.5) / 3 / 2)


def test_tensor_parallel_divides_the_products() -> None:
    """Each of t devices has a t-th of the operations of a block and of the head."""
    recipe = gpt3(VOCABULARY)
    whole, part = work_of(recipe, 1), work_of(recipe, 1, tensor=8)
    for before, after in zip([*whole.block, *whole.ends], [*part.block, *part.ends], strict=True):
        assert after.flops == before.flops / 8


def test_a_slow_network_shows() -> None:
    """With a tenth of the network between nodes, a sharded step takes longer, and its exchanges are what grew."""
    recipe = changed(gpt3(VOCABULARY), {"training.parallel.tensor": "1", "training.batch": "2048"})
    layout, fast = Layout(1, 1024, 1), Roofline(H100, 2, H100.network_bytes_s, fused=True)
    quick = step_time(recipe, layout, fast)
    slow = step_time(recipe, layout, replace(fast, network_bytes_s=H100.network_bytes_s / 10))
    assert slow.exchanges > 2 * quick.exchanges
    assert (slow.forward, slow.backward) == (quick.forward, quick.backward)


def test_a_ring_moves_what_it_must() -> None:
    """Gathering takes a node's links' time for seven eighths; over two nodes at least the network's for a half."""
    roofline = Roofline(replace(H100, hop_s=0.0), 2, 50e9, fused=True)
    links, network = 450e9 * H100.link_share, 50e9 * H100.link_share
    assert roofline.gathered(8e9, 8, 1) == pytest.approx(7e9 / links)
    assert roofline.gathered(8e9, 16, 1) == pytest.approx(max(7.5e9 / links, 4e9 / (8 * network)))
    assert roofline.gathered(8e9, 2, 8) == pytest.approx(4e9 / network)
    assert roofline.gathered(8e9, 1, 1) == 0


@pytest.mark.parametrize("law", sorted(SOURCES))
def test_a_budget_of_money_is_spent(law: str) -> None:
    """The plan for a budget costs that budget, whatever the law."""

    def recipe_for(best: object) -> LanguageRecipe:
        assert hasattr(best, "parameters")
        assert hasattr(best, "tokens")
        return recipe_of(best.parameters, best.tokens)

    plan = plan_for_money(5e4, 2.5, law, _sites(64), recipe_for)
    best = optimum(plan.flops["weights"], law)
    assert plan.fits
    assert isclose(plan.cost(2.5), 5e4, rel_tol=0.01)
    assert isclose(plan.recipe.model.parameters, best.parameters, rel_tol=0.06)


def test_a_layout_that_cannot_be_is_refused() -> None:
    """A batch that the devices cannot share is told with one that they can."""
    with pytest.raises(ConfigError, match=r"training\.batch="):
        best_plan(changed(gpt2(VOCABULARY), {"training.batch": "500", "training.micro_batch": "1"}), _sites(48))


def test_eight_bits_need_units_for_them() -> None:
    """Products in 8 bits are quicker where a device has them, and refused where it has none."""
    recipe = changed(gpt3(VOCABULARY), {"training.precision.float8": "true"})
    wide = plan_of(gpt3(VOCABULARY), _sites(1024))
    assert plan_of(recipe, _sites(1024)).step.forward < wide.step.forward
    with pytest.raises(ConfigError, match="float8"):
        plan_of(recipe, _sites(1024, "a100"))


def test_everything_that_a_plan_asks_is_measured() -> None:
    """What a processor is asked to measure is what its plan then looks up, with one process and with two."""
    recipe = changed(gpt2(VOCABULARY), {"training.micro_batch": "4"})
    for layout in (Layout(1, 1, 1), Layout(1, 2, 1)):
        asked = Asked()
        step_time(recipe, layout, asked)
        found = measured_from(
            {
                "number": 4, "process_bytes": 1, "pass_bytes_s": 1e9, "optimizer_s": 1.0,
                "times": dict.fromkeys(asked.operations, (0.25, 0.5)),
                "gathers": dict.fromkeys(asked.gathers, 1e-3), "scatters": dict.fromkeys(asked.scatters, 1e-3),
            }
        )  # fmt: skip
        step = step_time(recipe, layout, found)
        assert step.forward > 0
        assert step.optimizer >= 1.0
        assert (step.exchanges > 0) == (layout.shards > 1)


def test_an_unknown_device_is_told_with_those_that_are_known() -> None:
    """A device that is not in the table is refused, and the message has the table's names."""
    with pytest.raises(ConfigError, match="mi300x"):
        device_named("tpu")
