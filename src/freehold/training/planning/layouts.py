"""The ways in which a training can lie on its devices."""

from collections.abc import Iterator
from itertools import product

from freehold.training.language.recipes import LanguageRecipe
from freehold.training.planning.devices import Device
from freehold.training.trainer.recipe import ParallelRecipe

NEAR = 1.25
"""By what factor a batch that a plan chooses may differ from the one that is wanted."""

MOST_SAMPLES = 512
"""Of a micro-batch that are looked at."""


def layouts(recipe: LanguageRecipe, devices: int, node: int, *, batch_is_free: bool) -> Iterator[LanguageRecipe]:
    """The recipe with every layout that is worth a look on so many devices.

    Matrices are split over at most a node. Weights are split over all devices, over a node's, over any power of two
    times that, or not at all; what is left are replicas.

    Args:
        recipe: whose batch stays as it is, unless
        devices: in all.
        node: of these, so many have fast links to each other.
        batch_is_free: then it becomes the nearest multiple of the groups of devices that take samples, and the steps as
            many as see the same tokens.
    """
    for tensor in (each for each in _powers(min(node, devices)) if devices % each == 0 and _splits(recipe, each)):
        data = devices // tensor
        batch = max(1, round(recipe.training.batch / data)) * data if batch_is_free else recipe.training.batch
        if batch % data:
            continue
        shards = [each for each in _shards(data, max(1, node // tensor)) if data % each == 0]
        for each, micro, again in product(shards, _divisors(batch // data), (False, True)):
            parallel = ParallelRecipe(replicas=data // each, shards=each, tensor=tensor, activation_checkpointing=again)
            steps = max(1, round(recipe.training.steps * recipe.training.batch / batch))
            change = {"steps": steps, "batch": batch, "micro_batch": micro, "parallel": parallel}
            yield recipe.model_copy(update={"training": recipe.training.model_copy(update=change)})


def near(recipe: LanguageRecipe, batch: int) -> bool:
    """Whether a layout's batch is about the one that was wanted."""
    return batch / NEAR <= recipe.training.batch <= batch * NEAR


def node_of(device: Device | None, devices: int) -> int:
    """Devices that have fast links to each other; on a processor all."""
    return devices if device is None else device.node


def _shards(data: int, node: int) -> list[int]:
    found = {1, data}
    size = min(node, data)
    while size < data:
        found.add(size)
        size *= 2
    return sorted(found)


def _splits(recipe: LanguageRecipe, tensor: int) -> bool:
    model = recipe.model
    sides = (model.heads, model.kv_heads, model.feed_forward, model.vocabulary, recipe.sequence)
    return all(side % tensor == 0 for side in sides)


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, min(number, MOST_SAMPLES) + 1) if number % each == 0]


def _powers(most: int) -> list[int]:
    return [2**power for power in range(most.bit_length()) if 2**power <= most]
