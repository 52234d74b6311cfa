"""AdamW and Muon: which weights each of them changes, and how."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.distributed import all_to_all_single
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.optim import AdamW, Optimizer

from freehold.training.trainer.recipe import OptimizerRecipe

QUINTIC: Final = (3.4445, -4.7750, 2.0315)
"""Of Newton and Schulz's iteration, as Jordan et al. (2024, kellerjordan.github.io/posts/muon) chose them."""
ITERATIONS: Final = 5
LIKE_ADAMW: Final = 0.2
"""Root of the mean square of AdamW's steps, which Muon's have too (Liu et al., arXiv 2502.16982)."""


def optimizers_of(model: nn.Module, recipe: OptimizerRecipe, dtype: torch.dtype = torch.float32) -> list[Optimizer]:
    """What changes a model's weights, each by one of them; the model lies on its devices already.

    Matrices decay and vectors do not. Muon takes the matrices inside of blocks (modules that stand in a list), and
    computes its steps in `dtype`.
    """
    inside: list[Tensor] = []
    matrices: list[Tensor] = []
    vectors: list[Tensor] = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        if recipe.kind == "muon" and weight.dim() == 2 and any(part.isdigit() for part in name.split(".")):
            inside.append(weight)
        else:
            (matrices if weight.dim() >= 2 else vectors).append(weight)
    made: list[Optimizer] = []
    if inside:
        made.append(Muon(inside, recipe.muon_learning_rate, recipe.muon_momentum, recipe.weight_decay, dtype))
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if groups := [group for group in groups if group["params"]]:
        made.append(AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, fused=True))
    return made


def set_rates(optimizers: Iterable[Optimizer], recipe: OptimizerRecipe, share: float) -> float:
    """Have the next step made at a share of the highest rates; returns AdamW's."""
    for optimizer in optimizers:
        highest = recipe.muon_learning_rate if isinstance(optimizer, Muon) else recipe.learning_rate
        for group in optimizer.param_groups:
            group["lr"] = share * highest
    return share * recipe.learning_rate


class Muon(Optimizer):
    """Steps along the nearest matrix with orthogonal rows or columns to the gradient's running mean.

    Where weights are split over processes (FSDP2), each process is sent whole matrices, an equal share of all, computes
    their steps, and sends the parts back: no step is computed twice.

    Args:
        weights: matrices.
        rate: of the steps, whose numbers have the mean square of AdamW's at the same rate.
        momentum: how slowly the running mean follows; Nesterov's look ahead is used.
        weight_decay: as AdamW's.
        dtype: in which the steps are computed, and sent; bfloat16 is enough for them.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        rate: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(weights, {"lr": rate, "momentum": momentum, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # noqa: ARG002  # the signature is the base's
        """Change the weights that have gradients."""
        for group in self.param_groups:
            alike: dict[Any, list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[_layout(weight)].append(weight)
            for weights in alike.values():
                self._change(weights, group["lr"], group["momentum"], group["weight_decay"])

    def _change(self, weights: Sequence[Tensor], rate: float, momentum: float, weight_decay: float) -> None:
        """Change weights that are of one shape and lie alike."""
        gradients = [_local(weight.grad) for weight in weights]
        means = [_local(self._mean(weight)) for weight in weights]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        ahead = [gradient.lerp(mean, momentum) for gradient, mean in zip(gradients, means, strict=True)]
        steps = _steps([each.to(self._dtype) for each in ahead], weights[0])
        length = LIKE_ADAMW * math.sqrt(max(weights[0].shape))
        own = [_local(weight) for weight in weights]
        torch._foreach_mul_(own, 1 - rate * weight_decay)
        torch._foreach_add_(own, steps, alpha=-rate * length)

    def _mean(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        return state["momentum_buffer"]


def orthogonal(matrices: Tensor) -> Tensor:
    """Of matrices [n, rows, columns], nearly the U V of their singular value decompositions U S V.

    Newton and Schulz's iteration with a quintic whose slope at 0 is steep: singular values end between 0.7 and 1.2.
    In the numbers that the matrices have.
    """
    a, b, c = QUINTIC
    turned = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if turned else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if turned else x


def _local(tensor: Tensor | None) -> Tensor:
    """What of a tensor lies in this process."""
    assert tensor is not None
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _layout(weight: Tensor) -> tuple[Any, ...]:
    if isinstance(weight, DTensor):
        return (weight.shape, weight.device_mesh, tuple(weight.placements))
    return (weight.shape,)


def _steps(parts: Sequence[Tensor], like: Tensor) -> list[Tensor]:
    """This process's parts of orthogonal matrices, from its parts of matrices that lie as `like` does."""
    if not isinstance(like, DTensor):
        return list(orthogonal(torch.stack(list(parts))).unbind())
    mesh, placements = like.device_mesh, like.placements
    split = [number for number, placement in enumerate(placements) if not placement.is_replicate()]
    if not split:
        return list(orthogonal(torch.stack(list(parts))).unbind())
    if len(split) == 1 and placements[split[0]] == Shard(0):
        return _exchanged(parts, like.shape, mesh.get_group(split[0]))
    wholes = [DTensor.from_local(part, mesh, placements, shape=like.shape, stride=like.stride()) for part in parts]
    made = orthogonal(torch.stack([whole.full_tensor() for whole in wholes])).unbind()
    return [distribute_tensor(each, mesh, placements, src_data_rank=None).to_local() for each in made]


def _exchanged(parts: Sequence[Tensor], shape: torch.Size, processes: Any) -> list[Tensor]:
    """As `_steps`, for matrices whose rows are split: process p computes p, p + world, p + 2 world and so on."""
    (height, width), world, rank = shape, processes.size(), processes.rank()
    each = -(-height // world)
    rows = [min(max(height - number * each, 0), each) for number in range(world)]  # as `torch.chunk` splits
    owned = [range(number, len(parts), world) for number in range(world)]
    order = [number for own in owned for number in own]
    sent = [len(own) * rows[rank] * width for own in owned]
    taken = [len(owned[rank]) * count * width for count in rows]
    outgoing = torch.cat([parts[number].flatten() for number in order])
    incoming = outgoing.new_empty(sum(taken))
    all_to_all_single(incoming, outgoing, taken, sent, group=processes)
    bands = [piece.view(-1, count, width) for piece, count in zip(incoming.split(taken), rows, strict=True) if count]
    made = orthogonal(torch.cat(bands, dim=1))
    answer = torch.cat([band.flatten() for band in made.split([count for count in rows if count], dim=1)])
    back = torch.empty_like(outgoing)
    all_to_all_single(back, answer, sent, taken, group=processes)
    steps = dict(zip(order, back.view(len(parts), rows[rank], width), strict=True))
    return [steps[number] for number in range(len(parts))]
