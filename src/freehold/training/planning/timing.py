"""How long a step takes, from what its parts take: computing, exchanging, and the optimizer.

A micro-batch goes through its blocks and back. Where weights are sharded, FSDP2 fetches the next block's while one
computes, and exchanges a block's gradients while the one before it is computed: of each pair the longer counts. The
exchanges of tensor parallel have nothing to hide behind. With L blocks, their times f there and b back (recomputation
included), g to fetch one and r to exchange its gradients, and the same letters with a mark for the ends:

    there  g' + g + (L - 1) max(f, g) + f + f'
    back   b' + (L - 1) max(b, g + r) + b + r + r'          r = 0 in all micro-batches but the last of a step

A ring over n devices moves (n - 1) / n of what is gathered or scattered through each link; between nodes all devices of
a node carry their share of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from freehold.training.language.recipes import LanguageRecipe, ModelRecipe
from freehold.training.planning.devices import Device
from freehold.training.planning.work import (
    Operation,
    block_parameters,
    ends_parameters,
    matrices,
    multiplied,
    work_of,
)
from freehold.training.trainer.recipe import Layout
from freehold.training.trainer.share import StepShare

ADAMW_BYTES = 28
"""A parameter: weight, gradient and two means are read, and all but the gradient written, 4 bytes each."""
CLIP_BYTES = 12
"""Its gradient is read for the length, and read and written to be shortened."""
MUON_BYTES = 60
"""Around the products: the mean, the look ahead, the copies in and out, the division by the length, and the change."""
ITERATIONS = 5
"""Of Newton and Schulz's, three products each."""
ADDED_BYTES = 12
"""A parameter: where gradients of several micro-batches are added up, two are read and one is written."""
GRADIENT_BYTES = 4
"""Gradients are exchanged in float32."""


class Speeds(Protocol):
    """What a device does, measured or from a roofline. Seconds throughout."""

    @property
    def number(self) -> int:
        """Bytes of a number that is computed with."""
        ...

    @property
    def overlaps(self) -> bool:
        """Whether exchanges go on while it computes."""
        ...

    def there(self, operation: Operation) -> float:
        """Of one such operation, forward."""
        ...

    def back(self, operation: Operation) -> float:
        """And backward."""
        ...

    def passes(self, numbers_bytes: float) -> float:
        """Of reading or writing so many bytes of weights and states, in long vectors."""
        ...

    def optimizer(self, recipe: LanguageRecipe, layout: Layout) -> float:
        """Of shortening gradients and changing the weights, without what is exchanged for it."""
        ...

    def gathered(self, size_bytes: float, devices: int, stride: int) -> float:
        """Of gathering so many bytes in all over devices whose numbers are `stride` apart."""
        ...

    def scattered(self, size_bytes: float, devices: int, stride: int) -> float:
        """Of adding up so many bytes over them, and giving each its part."""
        ...


@dataclass(frozen=True, slots=True)
class Roofline:
    """An accelerator: each operation takes as long as computing or as moving takes, whichever is longer.

    Args:
        device: its figures.
        number: bytes of a number that is computed with.
        network_bytes_s: between nodes, for each device.
        fused: whether kernels are compiled, so that few are launched and passes are fused.
        float8: whether the blocks' products are in 8 bits.
    """

    device: Device
    number: int
    network_bytes_s: float
    fused: bool
    float8: bool = False
    overlaps: bool = True

    def there(self, operation: Operation) -> float:
        """Forward."""
        return self._time(operation, operation.flops, operation.moved)

    def back(self, operation: Operation) -> float:
        """Backward."""
        return self._time(operation, operation.flops_back, operation.moved_back)

    def _time(self, operation: Operation, flops: float, moved: float) -> float:
        device = self.device
        share = device.attention_share if operation.kind == "attention" else device.matrix_share
        peak = device.flops
        if self.float8 and operation.kind == "product" and operation.name != "head" and device.flops_8bit is not None:
            peak, share = device.flops_8bit, share * FLOAT8_SHARE
        launched = device.kernel_s * (1 if self.fused else operation.kernels)
        return max(flops / (peak * share), self.passes(moved * self.number), launched)

    def passes(self, numbers_bytes: float) -> float:
        """At the share of the memory's bandwidth."""
        return numbers_bytes / (self.device.bandwidth_bytes_s * self.device.memory_share)

    def optimizer(self, recipe: LanguageRecipe, layout: Layout) -> float:
        """AdamW is bound by memory; Muon has products besides, of matrices that the shards have divided among them."""
        model, wanted = recipe.model, recipe.training.optimizer
        split = layout.shards * layout.tensor
        clip = CLIP_BYTES * model.parameters if wanted.clip_norm else 0
        if wanted.kind == "adamw":
            return self.passes((clip + ADAMW_BYTES * model.parameters) / split)
        inside = model.layers * sum(rows * columns for rows, columns in matrices(model))
        moved = clip + ADAMW_BYTES * (model.parameters - inside) + MUON_BYTES * inside
        products = sum(
            ITERATIONS * self._iteration(-(-count // layout.shards), *sides) for count, sides in alike(model)
        )
        return self.passes(moved / split) + products

    def _iteration(self, batch: int, rows: int, columns: int) -> float:
        flops = batch * (4.0 * rows * rows * columns + 2.0 * rows**3)
        return flops / (self.device.flops * self.device.matrix_share) + 3 * self.device.kernel_s

    def gathered(self, size_bytes: float, devices: int, stride: int) -> float:
        """Within a node over its links; between nodes over those of all devices that carry a part."""
        if devices <= 1:
            return 0.0
        device = self.device
        inside = max(1, min(devices, device.node // stride))
        nodes = -(-devices // inside)
        links = size_bytes * (devices - 1) / devices / (device.link_bytes_s * device.link_share)
        outside = size_bytes * (nodes - 1) / nodes / (inside * self.network_bytes_s * device.link_share)
        return max(links if inside > 1 else 0.0, outside) + device.hop_s * (devices - 1)

    def scattered(self, size_bytes: float, devices: int, stride: int) -> float:
        """As long as gathering."""
        return self.gathered(size_bytes, devices, stride)


FLOAT8_SHARE = 0.75
"""Of the share that 16 bits reach, what 8 bits do: numbers are scaled and converted besides."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """What a step takes, in seconds, on each device at once.

    Args:
        forward: computing on the way there, all micro-batches.
        backward: and back, with what is computed again.
        exchanges: what computing does not hide.
        optimizer: clipping and the change of weights.
    """

    forward: float
    backward: float
    exchanges: float
    optimizer: float

    @property
    def total(self) -> float:
        """One after the other."""
        return self.forward + self.backward + self.exchanges + self.optimizer


def step_time(recipe: LanguageRecipe, layout: Layout, speeds: Speeds) -> StepTime:
    """What a step of a training takes on devices that are laid out so."""
    model, training = recipe.model, recipe.training
    share = StepShare.of(training, 0, layout.data)
    work = work_of(recipe, share.size, layout.tensor)
    again = training.parallel.activation_checkpointing
    between = _between_matrices(recipe, share.size, layout, speeds)
    there = sum(speeds.there(each) * each.count for each in work.block) + between
    back = sum(speeds.back(each) * each.count for each in work.block) + between + (there if again else 0.0)
    ends_there = sum(speeds.there(each) * each.count for each in work.ends)
    ends_back = sum(speeds.back(each) * each.count for each in work.ends)
    fetch, exchange = _fsdp(block_parameters(model), layout, speeds)
    fetch_ends, exchange_ends = _fsdp(ends_parameters(model), layout, speeds)
    added = speeds.passes(ADDED_BYTES * model.parameters / layout.tensor)
    forward = share.pieces * (model.layers * there + ends_there)
    backward = share.pieces * (model.layers * back + ends_back) + (share.pieces - 1) * added
    there, back = (there, back) if speeds.overlaps else (0.0, 0.0)
    first = (model.layers - 1) * max(0.0, fetch - there) + fetch
    middle = (model.layers - 1) * max(0.0, fetch - back)
    last = (model.layers - 1) * max(0.0, fetch + exchange - back) + exchange + exchange_ends
    exchanges = fetch_ends + share.pieces * first + (share.pieces - 1) * middle + last
    changed = speeds.optimizer(recipe, layout) + _exchanged_by_muon(recipe, layout, speeds)
    return StepTime(forward, backward, exchanges, changed)


def model_flops(recipe: LanguageRecipe) -> float:
    """Operations of a step as the share of the peak counts them: without what is computed again."""
    per_token = 6.0 * multiplied(recipe.model) + 12.0 * recipe.model.layers * recipe.model.width * recipe.sequence
    return per_token * recipe.training.batch * recipe.sequence


def _between_matrices(recipe: LanguageRecipe, samples: int, layout: Layout, speeds: Speeds) -> float:
    """Of tensor parallel in one block, one way: tokens are gathered before matrices, and scattered after."""
    size = samples * recipe.sequence * recipe.model.width * speeds.number
    return 4 * speeds.gathered(size, layout.tensor, 1)


def _fsdp(parameters: int, layout: Layout, speeds: Speeds) -> tuple[float, float]:
    """Of fetching the weights of a part of the model, and of exchanging its gradients."""
    part = parameters / layout.tensor
    fetch = speeds.gathered(part * speeds.number, layout.shards, layout.tensor)
    scatter = speeds.scattered(part * GRADIENT_BYTES, layout.shards, layout.tensor)
    stride = layout.tensor * layout.shards
    reduce = 2 * speeds.scattered(part / layout.shards * GRADIENT_BYTES, layout.replicas, stride)
    return fetch, scatter + reduce


def _exchanged_by_muon(recipe: LanguageRecipe, layout: Layout, speeds: Speeds) -> float:
    """Whole matrices are sent to those that compute their steps, and the steps sent back."""
    if recipe.training.optimizer.kind != "muon":
        return 0.0
    inside = recipe.model.layers * sum(rows * columns for rows, columns in matrices(recipe.model))
    return 2 * speeds.scattered(GRADIENT_BYTES * inside / layout.tensor / layout.shards, layout.shards, layout.tensor)


def alike(model: ModelRecipe) -> Iterable[tuple[int, tuple[int, int]]]:
    """How many matrices of all blocks have each shape, which the optimizer takes together; the shorter side first."""
    shapes = matrices(model)
    for shape in dict.fromkeys(shapes):
        yield model.layers * shapes.count(shape), (min(shape), max(shape))
