"""Which weights are changed by what, and that Muon's steps are what they should be."""

import pytest
import torch
from torch import nn

from freehold.training.trainer.optimizers import Muon, optimizers_of, orthogonal, set_rates
from freehold.training.trainer.recipe import OptimizerRecipe

pytestmark = pytest.mark.torch


def small_model() -> nn.Module:
    """An embedding, two blocks with a matrix and a norm each, and a head."""
    torch.manual_seed(0)
    blocks = nn.ModuleList(nn.ModuleDict({"norm": nn.RMSNorm(8), "matrix": nn.Linear(8, 16)}) for _ in range(2))
    return nn.ModuleDict({"embedding": nn.Embedding(5, 8), "blocks": blocks, "head": nn.Linear(8, 5, bias=False)})


def reference(gradient: torch.Tensor) -> torch.Tensor:
    """Newton and Schulz's quintic iteration, written down as Jordan's post does, for one wide matrix."""
    x = gradient / gradient.norm()
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


def test_groups() -> None:
    """Muon has the matrices of blocks, AdamW all else, and vectors do not decay."""
    model = small_model()
    muon, adamw = optimizers_of(model, OptimizerRecipe(kind="muon"))
    names = {id(weight): name for name, weight in model.named_parameters()}
    assert [names[id(weight)] for weight in muon.param_groups[0]["params"]] == [
        "blocks.0.matrix.weight",
        "blocks.1.matrix.weight",
    ]
    matrices, vectors = adamw.param_groups
    assert [names[id(weight)] for weight in matrices["params"]] == ["embedding.weight", "head.weight"]
    assert matrices["weight_decay"] == 0.1
    assert vectors["weight_decay"] == 0.0
    assert all(weight.dim() == 1 for weight in vectors["params"])
    (alone,) = optimizers_of(model, OptimizerRecipe(kind="adamw"))
    assert sum(len(group["params"]) for group in alone.param_groups) == len(names)


def test_rates() -> None:
    """Each optimizer is set to a share of its own highest rate."""
    recipe = OptimizerRecipe(kind="muon", learning_rate=0.1, muon_learning_rate=0.4)
    muon, adamw = optimizers_of(small_model(), recipe)
    assert set_rates([muon, adamw], recipe, 0.5) == 0.05
    assert [group["lr"] for group in muon.param_groups] == [0.2]
    assert [group["lr"] for group in adamw.param_groups] == [0.05, 0.05]


@pytest.mark.parametrize("shape", [(6, 6), (4, 10), (10, 4), (1, 8)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    """Matrices of any shape, several at once, become what the plain iteration makes of each."""
    torch.manual_seed(1)
    matrices = torch.randn(3, *shape)
    wide = shape[0] <= shape[1]
    for made, matrix in zip(orthogonal(matrices), matrices, strict=True):
        expected = reference(matrix) if wide else reference(matrix.T).T
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)
        values = torch.linalg.svdvals(made)
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_steps() -> None:
    """Three steps are those of the plain rule: a running mean, Nesterov's look ahead, decay, AdamW's length."""
    torch.manual_seed(2)
    weights = [nn.Parameter(torch.randn(4, 10)) for _ in range(2)]
    expected = [weight.detach().clone() for weight in weights]
    means = [torch.zeros(4, 10) for _ in weights]
    muon = Muon(weights, 0.03, momentum=0.9, weight_decay=0.2)
    for _ in range(3):
        for place, weight in enumerate(weights):
            weight.grad = torch.randn(4, 10)
            means[place] = 0.9 * means[place] + 0.1 * weight.grad
            step = reference(0.1 * weight.grad + 0.9 * means[place])
            expected[place] = expected[place] * (1 - 0.03 * 0.2) - 0.03 * 0.2 * 10**0.5 * step
        muon.step()
    torch.testing.assert_close([weight.detach() for weight in weights], expected, atol=1e-5, rtol=1e-5)


def test_nothing() -> None:
    """Without gradients nothing is changed, and gradients of zeros give no step."""
    weight = nn.Parameter(torch.ones(3, 3))
    muon = Muon([weight], 0.1, weight_decay=0.0)
    muon.step()
    weight.grad = torch.zeros(3, 3)
    muon.step()
    assert torch.equal(weight.detach(), torch.ones(3, 3))


def test_state() -> None:
    """A state that is written and loaded goes on as if it had not been."""
    torch.manual_seed(3)
    gradients = [torch.randn(4, 6) for _ in range(4)]

    def trained(weight: nn.Parameter, muon: Muon, some: list[torch.Tensor]) -> torch.Tensor:
        for gradient in some:
            weight.grad = gradient
            muon.step()
        return weight.detach()

    whole = nn.Parameter(torch.ones(4, 6))
    expected = trained(whole, Muon([whole], 0.1), gradients)
    first = nn.Parameter(torch.ones(4, 6))
    before = Muon([first], 0.1)
    trained(first, before, gradients[:2])
    second = nn.Parameter(first.detach().clone())
    after = Muon([second], 0.1)
    after.load_state_dict(before.state_dict())
    assert torch.equal(trained(second, after, gradients[2:]), expected)
