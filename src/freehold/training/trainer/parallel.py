"""How a training lies on many devices: one process a device, and a mesh of them with three sides.

- `replicate`: groups that each hold the whole model (hybrid sharding)
- `shard`: weights, gradients and the optimizer's state are split (Zhao et al., arXiv 2304.11277; FSDP2)
- `tensor`: each matrix of a block is split, and between the matrices the sequence is (Shoeybi et al., arXiv
  1909.08053; Korthikanti et al., arXiv 2205.05198)

Devices that differ in `replicate` or `shard` take samples of their own; those of one `tensor` group take the same.
A training on one device has no mesh, and nothing here costs it anything.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from torch.utils.checkpoint import checkpoint

from freehold.errors import ConfigError
from freehold.training.trainer import precision
from freehold.training.trainer.recipe import Layout, ParallelRecipe, TrainingRecipe

REPLICATE, SHARD, TENSOR = "replicate", "shard", "tensor"
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
SEQUENCE_DIM = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Which of how many processes this one is; whoever starts it says so."""

    rank: int = 0
    local_rank: int = 0
    """Its number on its machine, which is the number of its GPU."""
    world: int = 1
    rendezvous: str = ""
    """Where the processes find each other: `tcp://HOST:PORT` of the first, or `file:///…` on one machine."""


ALONE = Place()


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of one training, as one of its processes sees them; made by `open`."""

    device: torch.device
    layout: Layout
    rank: int = 0
    mesh: DeviceMesh | None = None
    """Its sides are `replicate`, `shard` and `tensor`; None on one device."""

    @classmethod
    @contextmanager
    def open(cls, parallel: ParallelRecipe, kind: str, place: Place = ALONE) -> Iterator[Self]:
        """Join the other processes, and leave them at the end.

        Args:
            parallel: how the devices are laid out.
            kind: "cpu" or "cuda".
            place: of this process.

        Raises:
            ConfigError: the number of processes is not what the recipe wants, or there is no such device.
        """
        layout = parallel.layout(place.world)
        device = _device(kind, place)
        if place.world == 1:
            yield cls(device, layout)
            return
        dist.init_process_group(
            BACKENDS[kind],
            init_method=place.rendezvous,
            rank=place.rank,
            world_size=place.world,
            device_id=device if kind == "cuda" else None,
        )
        try:
            yield cls(
                device, layout, place.rank, init_device_mesh(kind, layout, mesh_dim_names=(REPLICATE, SHARD, TENSOR))
            )
        finally:
            dist.destroy_process_group()

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.layout.data * self.layout.tensor

    @property
    def is_first(self) -> bool:
        """Whether this process tells and writes what only one should."""
        return self.rank == 0

    @property
    def data_rank(self) -> int:
        """The number of this process among those that take samples of their own."""
        return self.rank // self.layout.tensor

    @property
    def data_world(self) -> int:
        """How many take samples of their own."""
        return self.layout.data

    def distribute(self, model: nn.Module, recipe: TrainingRecipe) -> nn.Module:
        """Lay a model on the devices; it is changed in place, and its parameters keep their names.

        A model's blocks are `model.model.layers`, with the names that transformers' Llama has; one without is split as
        a whole. Comes before the optimizer, and may come before the weights have values (on the meta device).

        Raises:
            ConfigError: the model cannot be split so.
        """
        blocks = _blocks(model)
        if self.mesh is not None and self.layout.tensor > 1:
            _split_matrices(model, blocks, self.mesh[TENSOR])
        again = recipe.parallel.activation_checkpointing
        if again and not blocks:
            raise ConfigError("parallel.activation_checkpointing: this model has no blocks that could be recomputed")
        whole = recipe.precision.compile and self.layout.tensor > 1  # torch compiles no recomputing of split matrices
        if again and not whole:
            _recompute(blocks)
        if recipe.precision.compile:
            for part in blocks or [model]:
                part.forward = torch.compile(part.forward)
            if blocks and hasattr(model, "compile_loss"):  # what comes behind the blocks
                model.compile_loss()
        if again and whole:
            _recompute(blocks)
        if self.mesh is not None:
            self._shard(model, blocks, precision.of(recipe.precision, self.device.type))
        return model

    def accumulating(self, model: nn.Module, *, last: bool) -> None:
        """Say before each micro-batch whether it is the last of its step: only then gradients are exchanged."""
        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(last)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all devices that take samples of their own, the same on each; a new tensor on one's own device.

        All processes take part: those of one tensor group say the same, so that they count alike.
        """
        if self.mesh is None:
            return value.detach()
        found = value.detach().clone()
        dist.all_reduce(found)
        return found / self.world

    @torch.no_grad()
    def clip(self, parameters: Iterable[nn.Parameter], norm: float | None) -> Tensor:
        """Shorten the gradients to `norm` over all weights, if they are longer; returns their length before.

        It lies on the device; nothing here waits for the device.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        length = self._length(gradients)
        if norm is not None:
            share = torch.clamp(norm / (length + 1e-6), max=1.0)
            torch._foreach_mul_([_local(gradient) for gradient in gradients], share)
        return length

    def _length(self, gradients: list[Tensor]) -> Tensor:
        """The Euclidean length of all gradients together; what several processes have counts once."""
        if self.mesh is None:
            return nn.utils.get_total_norm(gradients, foreach=True)
        by_copies: dict[int, list[Tensor]] = {}
        for gradient in gradients:
            by_copies.setdefault(self.world // _parts(gradient), []).append(_local(gradient))
        squares = [nn.utils.get_total_norm(group, foreach=True).square() / n for n, group in by_copies.items()]
        total = torch.stack(squares).sum()
        dist.all_reduce(total)
        return total.sqrt()

    def _shard(self, model: nn.Module, blocks: list[nn.Module], numbers: precision.Precision) -> None:
        """Split weights over the data devices, block by block: only what is being computed is there as a whole.

        Blocks are sent round in the numbers that they are computed in; gradients are added up in float32.
        """
        assert self.mesh is not None
        mesh = self.mesh[REPLICATE, SHARD] if self.layout.replicas > 1 else self.mesh[SHARD]
        lower = None if numbers.dtype == torch.float32 else numbers.dtype
        policy = MixedPrecisionPolicy(param_dtype=lower, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for block in blocks:
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh)


def _device(kind: str, place: Place) -> torch.device:
    if kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if place.local_rank >= count:
        raise ConfigError(
            f"device: process {place.local_rank + 1} on this machine wants a GPU of its own; there are {count}"
        )
    device = torch.device("cuda", place.local_rank)
    torch.cuda.set_device(device)
    return device


def _recompute(blocks: list[nn.Module]) -> None:
    """Have blocks computed again on the way back instead of keeping what they computed."""
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _blocks(model: nn.Module) -> list[nn.Module]:
    """What a model's weights are split by; empty if it has no such parts."""
    return list(getattr(getattr(model, "model", None), "layers", []))


def _parts(tensor: Tensor) -> int:
    """In how many parts a tensor lies on its devices."""
    if not isinstance(tensor, DTensor):
        return 1
    sides = zip(tensor.device_mesh.shape, tensor.placements, strict=True)
    return math.prod(size for size, placement in sides if not placement.is_replicate())


def _local(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies here; writing into it writes into the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class _NormOfSequence(ParallelStyle):
    """A norm of tokens that are split along the sequence; its output is whole again where a matrix comes next."""

    def _apply(self, module: nn.Module, mesh: DeviceMesh) -> nn.Module:
        return distribute_module(module, mesh, self._replicate, self._take, self._give)

    @staticmethod
    def _replicate(_: str, module: nn.Module, mesh: DeviceMesh) -> None:
        for name, parameter in list(module.named_parameters(recurse=False)):
            whole = DTensor.from_local(parameter.detach(), mesh, [Replicate()], run_check=False)
            module.register_parameter(name, nn.Parameter(whole))

    @staticmethod
    def _take(_: nn.Module, inputs: tuple[Tensor, ...], mesh: DeviceMesh) -> tuple[Tensor, ...]:
        return (DTensor.from_local(inputs[0], mesh, [Shard(SEQUENCE_DIM)], run_check=False), *inputs[1:])

    @staticmethod
    def _give(_: nn.Module, output: DTensor, __: DeviceMesh) -> DTensor:
        return output.redistribute(placements=[Replicate()])


class _Awaited(torch.autograd.Function):
    """A tensor that is being exchanged, when it is there: compiled blocks pass no gradient to one that is not yet."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        """Wait for it."""
        return tensor.wait() if isinstance(tensor, AsyncCollectiveTensor) else tensor.view_as(tensor)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """As it is."""
        return gradient


def _split_matrices(model: nn.Module, blocks: list[nn.Module], mesh: DeviceMesh) -> None:
    """Split each matrix over the devices of a tensor group, attention by heads, and tokens between the matrices."""
    _check_sides(model, blocks, mesh.size())
    tied = model.lm_head.weight is model.model.embed_tokens.weight
    by_sequence = Shard(SEQUENCE_DIM)
    columns, norm = ColwiseParallel(), _NormOfSequence()
    inner = {
        "input_layernorm": norm,
        "self_attn.q_proj": columns,
        "self_attn.k_proj": columns,
        "self_attn.v_proj": columns,
        "self_attn.o_proj": RowwiseParallel(output_layouts=by_sequence),
        "post_attention_layernorm": norm,
        "mlp.gate_proj": columns,
        "mlp.up_proj": columns,
        "mlp.down_proj": RowwiseParallel(output_layouts=by_sequence),
    }
    outer = {
        "model.embed_tokens": RowwiseParallel(input_layouts=Replicate(), output_layouts=by_sequence),
        "model.norm": norm,
        "lm_head": ColwiseParallel(output_layouts=Replicate()),
    }
    for block in blocks:
        parallelize_module(block, mesh, inner)
    parallelize_module(model, mesh, outer)
    if tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    model.model.embed_tokens.register_forward_hook(lambda _, __, output: _Awaited.apply(output))
    model.register_forward_pre_hook(_sequence_check(mesh.size()))


def _check_sides(model: nn.Module, blocks: list[nn.Module], tensor: int) -> None:
    if not blocks:
        raise ConfigError("parallel.tensor: only language models can be split by matrices; say 1")
    for name in ("vocabulary", "heads", "kv_heads", "feed_forward"):
        if (size := getattr(model.recipe, name)) % tensor:
            raise ConfigError(f"parallel.tensor: the model's {name} ({size}) cannot be split over {tensor} devices")


def _sequence_check(tensor: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def check(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        if (length := inputs[0].shape[SEQUENCE_DIM]) % tensor:
            raise ConfigError(f"parallel.tensor: a sequence of {length} tokens cannot be split over {tensor} devices")

    return check
