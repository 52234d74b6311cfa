import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from freehold.errors import ConfigError
from freehold.training.language.model import GPT
from freehold.training.trainer.parallel import ALONE, Devices, Place
from freehold.training.trainer.recipe import ParallelRecipe, PrecisionRecipe, TrainingRecipe
from tests.training.trainer.parallel_program import CASES, MODEL, STEPS, curve, samples

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[3]
TOLERANCE = 1e-5
"""Relative, of each of 20 losses: sums of float32 in another order."""
WARNINGS = ("-W", "error", "-W", "ignore::DeprecationWarning", "-W", "ignore:The .grad attribute")
"""Are errors, but for those of torch's own compiler."""
Curve = dict[str, Any]


def trained_together(folder: Path, world: int, names: Sequence[str]) -> dict[str, Curve]:
    """What processes saw who ran the cases together."""
    module = "tests.training.trainer.parallel_program"
    processes = [
        subprocess.Popen(
            [sys.executable, *WARNINGS, "-m", module, str(rank), str(world), str(folder), *names],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        complaints = [process.communicate(timeout=900)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * world, "\n".join(complaints)
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Curve]:
    """Trainings of two processes each."""
    names = (
        "sharded",
        "sharded_muon",
        "sharded_untied",
        "sharded_recomputed",
        "sharded_bfloat16",
        "replicated",
        "tensor",
    )
    return trained_together(tmp_path_factory.mktemp("two"), 2, names)


@pytest.fixture(scope="module")
def alone() -> Callable[[str], Curve]:
    """Trainings of one process, each computed once."""
    found: dict[str, Curve] = {}

    def train(name: str) -> Curve:
        if name not in found:
            found[name] = curve(CASES[name], ALONE)
        return found[name]

    return train


@pytest.fixture(scope="module")
def compiler() -> str:
    """The C++ compiler that torch.compile needs on a processor."""
    found = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    if found is None:
        pytest.skip("torch.compile needs a C++ compiler on a processor, and there is none")
    return found


def assert_equal(curves: Curve, reference: Curve, tolerance: float = TOLERANCE) -> None:
    """Losses, lengths of gradients and last weights are equal to rounding, and something was learnt."""
    assert len(curves["losses"]) == STEPS
    assert curves["losses"] == pytest.approx(reference["losses"], rel=tolerance)
    assert curves["lengths"] == pytest.approx(reference["lengths"], rel=10 * tolerance)
    for name, weight in reference["weights"].items():
        assert curves["weights"][name] == pytest.approx(weight, rel=100 * tolerance, abs=100 * tolerance)
    assert reference["losses"][-1] < 0.9 * reference["losses"][0]


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("sharded", "alone"),
        ("sharded_muon", "alone_muon"),
        ("sharded_untied", "alone_untied"),
        ("sharded_recomputed", "alone"),
        ("replicated", "alone"),
        ("tensor", "alone"),
    ],
)
def test_two_processes_learn_what_one_does(
    two: dict[str, Curve], alone: Callable[[str], Curve], name: str, reference: str
) -> None:
    """However the model lies on two devices, each step has the loss that one device has, to rounding."""
    assert_equal(two[name], alone(reference))


def test_bfloat16_differs_by_its_rounding_only(two: dict[str, Curve], alone: Callable[[str], Curve]) -> None:
    """In bfloat16 two devices stay with one to its three digits, and both with float32."""
    assert two["sharded_bfloat16"]["losses"] == pytest.approx(alone("alone_bfloat16")["losses"], rel=1e-2)
    assert alone("alone_bfloat16")["losses"] == pytest.approx(alone("alone")["losses"], rel=2e-2)
    assert alone("alone_bfloat16")["losses"] != alone("alone")["losses"]


@pytest.mark.long
def test_four_processes_learn_what_one_does(tmp_path: Path, alone: Callable[[str], Curve]) -> None:
    """Hybrid sharding, and shards together with split matrices, with AdamW and with Muon."""
    four = trained_together(tmp_path, 4, ("hybrid", "hybrid_muon", "sharded_tensor", "sharded_tensor_muon"))
    for name, found in four.items():
        assert_equal(found, alone("alone_muon" if name.endswith("muon") else "alone"))


@pytest.mark.long
def test_two_processes_learn_the_same_however_it_is_combined(tmp_path: Path, alone: Callable[[str], Curve]) -> None:
    """Split matrices with a head of their own and with Muon, and compiled blocks whose matrices or shards are split."""
    names = ("tensor_untied", "tensor_muon", "sharded_compiled", "tensor_compiled", "tensor_recomputed_compiled")
    for name, found in trained_together(tmp_path, 2, names).items():
        reference = {"tensor_untied": "alone_untied", "tensor_muon": "alone_muon"}.get(name, "alone")
        assert_equal(found, alone(reference))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch's own compiler, as is the next
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
def test_compiled_blocks_learn_what_eager_ones_do(alone: Callable[[str], Curve], compiler: str) -> None:
    """What torch.compile makes of the blocks has the losses of the eager model, to rounding."""
    assert compiler
    assert_equal(alone("alone_compiled"), alone("alone"))


def test_recomputed_blocks_have_the_same_gradients() -> None:
    """Blocks that are computed again on the way back change no number of any gradient."""
    gradients = []
    for recomputed in (False, True):
        torch.manual_seed(1)
        model = GPT(MODEL)
        recipe = _recipe(ParallelRecipe(activation_checkpointing=recomputed))
        with Devices.open(recipe.parallel, "cpu") as devices:
            devices.distribute(model, recipe)
            model(*samples(1, 2)).backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name])


def test_one_device_needs_no_processes() -> None:
    """On one device there is no mesh, means are the values themselves, and gradients are cut to their length."""
    with Devices.open(ParallelRecipe(), "cpu") as devices:
        assert devices.mesh is None
        assert (devices.rank, devices.world, devices.data_rank, devices.data_world) == (0, 1, 0, 1)
        assert devices.is_first
        assert devices.mean(torch.tensor(3.0)).item() == 3.0
        weight = nn.Parameter(torch.zeros(2))
        weight.grad = torch.tensor([3.0, 4.0])
        assert devices.clip([weight], 1.0).item() == pytest.approx(5.0)
        assert torch.linalg.vector_norm(weight.grad).item() == pytest.approx(1.0, abs=1e-5)
        assert devices.clip([weight], None).item() == pytest.approx(1.0, abs=1e-5)


def test_gradients_that_are_short_stay_as_they_are() -> None:
    """Only gradients longer than the limit are cut; one that is not a number makes the length so."""
    weight = nn.Parameter(torch.zeros(2))
    with Devices.open(ParallelRecipe(), "cpu") as devices:
        weight.grad = torch.tensor([0.3, 0.4])
        devices.clip([weight], 1.0)
        assert weight.grad.tolist() == pytest.approx([0.3, 0.4])
        weight.grad = torch.tensor([math.nan, 0.4])
        assert math.isnan(devices.clip([weight], 1.0).item())


@pytest.mark.parametrize(
    ("parallel", "processes", "complaint"),
    [
        ({"shards": 4}, 1, "1 replicas x 4 shards x 1 tensor are 4 devices, one process on each; there are 1"),
        ({"replicas": 2, "shards": 2, "tensor": 2}, 4, "are 8 devices"),
        ({"tensor": 4}, 6, "need a multiple of 4 devices, one process on each; there are 6"),
        ({"replicas": 4}, 2, "need a multiple of 4 devices"),
    ],
)
def test_wrong_number_of_processes(parallel: dict[str, Any], processes: int, complaint: str) -> None:
    """A number of processes that the recipe does not fit is named before any of them waits for the others."""
    with (
        pytest.raises(ConfigError, match=complaint),
        Devices.open(ParallelRecipe(**parallel), "cpu", Place(0, 0, processes)),
    ):
        pass


def test_layout_takes_all_devices_for_shards() -> None:
    """Where the shards are not told, all devices that are left are shards."""
    assert tuple(ParallelRecipe(replicas=2, tensor=4).layout(32)) == (2, 4, 4)


def test_missing_gpu_is_named() -> None:
    """A process for which there is no GPU says so, and how many there are."""
    count = torch.cuda.device_count()
    with (
        pytest.raises(ConfigError, match=rf"wants a GPU of its own; there are {count}"),
        Devices.open(ParallelRecipe(), "cuda", Place(local_rank=count)),
    ):
        pass


def test_network_without_blocks_cannot_recompute_them() -> None:
    """What needs blocks is refused, by name, for a network that has none; it trains as a whole otherwise."""
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 1))
    with Devices.open(ParallelRecipe(), "cpu") as devices:
        assert devices.distribute(model, _recipe(ParallelRecipe())) is model
        with pytest.raises(ConfigError, match=r"parallel\.activation_checkpointing: this model has no blocks"):
            devices.distribute(model, _recipe(ParallelRecipe(activation_checkpointing=True)))


def _recipe(parallel: ParallelRecipe) -> TrainingRecipe:
    return TrainingRecipe(
        steps=1, batch=2, micro_batch=2, parallel=parallel, precision=PrecisionRecipe(compute="float32")
    )
