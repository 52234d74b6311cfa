"""This machine's processor, measured: the operations that a recipe makes of it, each timed by itself at its own shape.

A process of the Python that trains (`freehold.training.language.kernels`) does the measuring, with as many processes
and threads as the training would have; a plan then adds up what it found, as it does with a roofline.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from freehold.errors import ConfigError, EngineFailed
from freehold.training.language.recipes import LanguageRecipe
from freehold.training.planning.devices import CPU
from freehold.training.planning.memory import Room, memory_of
from freehold.training.planning.timing import step_time
from freehold.training.planning.work import Operation
from freehold.training.process import QUICK_MEMORY, run_module
from freehold.training.trainer.recipe import Layout
from freehold.training.trainer.share import StepShare

Clock = Literal["wall", "processor"]
MODULE: Final = "freehold.training.language.kernels"
TRIAL: Final = "freehold.training.language.trial"
TRIAL_STEPS: Final = 8
"""After which the allocator takes hardly more."""
TRIAL_LAYERS: Final = 4
"""Blocks of the model in the larger trial, at most two thirds of what there are."""


@dataclass(slots=True)
class Asked:
    """Remembers what a plan asks of a device, so that it can be measured; says 0 to everything."""

    number: int = 4
    overlaps: bool = False
    operations: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    gathers: dict[str, float] = field(default_factory=dict)
    scatters: dict[str, float] = field(default_factory=dict)

    def there(self, operation: Operation) -> float:
        """Remember it."""
        self.operations[_key(operation)] = (operation.kind, operation.shape)
        return 0.0

    def back(self, operation: Operation) -> float:
        """It is remembered already."""
        return self.there(operation)

    def passes(self, numbers_bytes: float) -> float:  # noqa: ARG002  # what is measured is the same for all
        """Nothing to remember."""
        return 0.0

    def optimizer(self, recipe: LanguageRecipe, layout: Layout) -> float:  # noqa: ARG002  # likewise
        """Nothing to remember."""
        return 0.0

    def gathered(self, size_bytes: float, devices: int, stride: int) -> float:  # noqa: ARG002  # all are alike here
        """Remember it."""
        if devices > 1:
            self.gathers[_size(size_bytes)] = size_bytes
        return 0.0

    def scattered(self, size_bytes: float, devices: int, stride: int) -> float:  # noqa: ARG002  # likewise
        """Remember it."""
        if devices > 1:
            self.scatters[_size(size_bytes)] = size_bytes
        return 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, in seconds.

    Args:
        number: bytes of a number that is computed with.
        process_bytes: of a process that has made a step of a tiny model.
        times: forward and backward, by operation.
        pass_bytes_s: read and written in long vectors.
        optimizer_s: of the whole optimizer.
        gathers: by size in bytes.
        scatters: likewise.
    """

    number: int
    process_bytes: int
    times: Mapping[str, tuple[float, float]]
    pass_bytes_s: float
    optimizer_s: float
    gathers: Mapping[str, float]
    scatters: Mapping[str, float]
    overlaps: bool = False

    def there(self, operation: Operation) -> float:
        """Forward."""
        return self.times[_key(operation)][0]

    def back(self, operation: Operation) -> float:
        """Backward."""
        return self.times[_key(operation)][1]

    def passes(self, numbers_bytes: float) -> float:
        """At the measured bandwidth."""
        return numbers_bytes / self.pass_bytes_s

    def optimizer(self, recipe: LanguageRecipe, layout: Layout) -> float:  # noqa: ARG002  # it was measured for these
        """As measured."""
        return self.optimizer_s

    def gathered(self, size_bytes: float, devices: int, stride: int) -> float:  # noqa: ARG002  # all are alike here
        """As measured."""
        return self.gathers[_size(size_bytes)] if devices > 1 else 0.0

    def scattered(self, size_bytes: float, devices: int, stride: int) -> float:  # noqa: ARG002  # likewise
        """As measured."""
        return self.scatters[_size(size_bytes)] if devices > 1 else 0.0

    @property
    def flops(self) -> float:
        """Operations a second in the products of matrices, all processes' threads of one process together."""
        shapes = {key: _shape(key) for key in self.times if key.startswith("product")}
        done = sum(6.0 * shape[0] * shape[1] * shape[2] for shape in shapes.values())
        return done / sum(sum(self.times[key]) for key in shapes)


@dataclass(frozen=True, slots=True)
class Processor:
    """This machine, measured for one recipe and layout; made by `measured`.

    Args:
        devices: processes.
        memory_bytes: of each.
        found: the times.
        allowance: share of what comes and goes that the C library's allocator loses between its pieces.
    """

    devices: int
    memory_bytes: int
    found: Measured
    allowance: float

    @property
    def name(self) -> str:
        """As `--gpu` takes it."""
        return CPU

    @property
    def node(self) -> int:
        """All processes are on this machine."""
        return self.devices

    def peak(self, recipe: LanguageRecipe) -> float:  # noqa: ARG002  # it was measured for this one
        """What products of matrices reach; there is no maker's figure to compare with."""
        return self.found.flops

    def room(self, recipe: LanguageRecipe) -> Room:  # noqa: ARG002  # likewise
        """In memory that checkpoints share."""
        return Room(self.found.number, False, True, self.found.process_bytes, self.allowance)

    def speeds(self, recipe: LanguageRecipe) -> Measured:  # noqa: ARG002  # likewise
        """As measured."""
        return self.found


async def measured(
    recipe: LanguageRecipe,
    processes: int = 1,
    python: str | None = None,
    *,
    threads: int | None = None,
    clock: Clock = "wall",
) -> Processor:
    """Measure what a recipe needs of this machine; takes some seconds, and more for a larger micro-batch.

    Args:
        recipe: with its layout.
        processes: that the training would have on this machine.
        python: that trains; None: the one that is found.
        threads: of each process; None: the processors divided among them.
        clock: "processor" counts what is computed instead of what time it takes, for one thread.

    Raises:
        ConfigError: no Python here can train, or the recipe cannot be laid out on so many processes.
        EngineFailed: the measuring process broke down.
    """
    layout = recipe.training.parallel.layout(processes)
    needed = Asked()
    step_time(recipe, layout, needed)
    wanted = {
        "processes": processes,
        "threads": threads or max(1, cores() // processes),
        "clock": clock,
        "recipe": recipe.model_dump(mode="json"),
        "layers": recipe.model.layers,
        "operations": needed.operations,
        "gathers": needed.gathers,
        "scatters": needed.scatters,
    }
    found = measured_from(await asked(MODULE, wanted, python))
    allowance = await _lost(recipe, layout, found, {**wanted, "recipe": None}, python)
    return Processor(processes, memory_bytes() // processes, found, allowance)


async def asked(module: str, wanted: Mapping[str, Any], python: str | None = None) -> dict[str, Any]:
    """What a measuring process says, in an environment like that of a training.

    Raises:
        ConfigError: no Python here can train.
        EngineFailed: the process broke down.
    """
    said: list[str] = []
    environment = {**QUICK_MEMORY, "OMP_NUM_THREADS": str(wanted["threads"]), "GLOO_SOCKET_IFNAME": "lo"}
    await run_module(module, [orjson.dumps(wanted).decode()], said.append, environment=environment, python=python)
    try:
        return dict(orjson.loads(said[-1]))
    except (IndexError, ValueError) as exc:
        raise EngineFailed("this machine could not be measured: the measuring process said nothing") from exc


async def _lost(
    recipe: LanguageRecipe, layout: Layout, found: Measured, wanted: Mapping[str, Any], python: str | None
) -> float:
    """The share that is lost between pieces, by some steps of the recipe with few blocks, and with half as many.

    Pieces that stay (gradients, kept states) break up those that come and go, block after block. So what is lost grows
    along a straight line with the blocks; its slope is not that of what comes and goes.
    """
    layers, room = recipe.model.layers, Room(found.number, False, True, 0, 0.0)
    more = max(1, min(TRIAL_LAYERS, layers * 2 // 3))
    fewer = more // 2
    lost = await _lost_with(more, recipe, layout, room, wanted, python)
    moving = memory_of(_small(recipe, layout, layers), layout, room).moving
    if not fewer:
        return lost / memory_of(_small(recipe, layout, more), layout, room).moving
    slope = max(0.0, (lost - await _lost_with(fewer, recipe, layout, room, wanted, python)) / (more - fewer))
    return (lost + slope * (layers - more)) / moving


async def _lost_with(
    layers: int, recipe: LanguageRecipe, layout: Layout, room: Room, wanted: Mapping[str, Any], python: str | None
) -> float:
    """Bytes that a training with so many blocks takes beyond the formula."""
    small = _small(recipe, layout, layers)
    trial = await asked(TRIAL, {**wanted, "recipe": small.model_dump(mode="json")}, python)
    return float(max(0.0, trial["peak"] - memory_of(small, layout, room).peak))


def _small(recipe: LanguageRecipe, layout: Layout, layers: int) -> LanguageRecipe:
    """The recipe with so many blocks and a few steps of two micro-batches at most."""
    model, training = recipe.model.model_copy(update={"layers": layers}), recipe.training
    share = StepShare.of(training, 0, layout.data)
    batch = layout.data * share.size * min(2, share.pieces)
    less = training.model_copy(update={"steps": TRIAL_STEPS, "batch": batch, "evaluate_every": None})
    return recipe.model_copy(update={"model": model, "training": less})


def measured_from(found: Mapping[str, Any]) -> Measured:
    """What the measuring process said."""
    return Measured(
        int(found["number"]),
        int(found["process_bytes"]),
        {key: (float(there), float(back)) for key, (there, back) in found["times"].items()},
        float(found["pass_bytes_s"]),
        float(found["optimizer_s"]),
        dict(found["gathers"]),
        dict(found["scatters"]),
    )


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Of this machine, in all.

    Raises:
        ConfigError: the system does not say.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    except (OSError, StopIteration) as exc:
        raise ConfigError("this system does not say how much memory it has; plan for a device of the table") from exc


def _key(operation: Operation) -> str:
    return f"{operation.kind} {'x'.join(map(str, operation.shape))}"


def _shape(key: str) -> tuple[int, ...]:
    return tuple(int(side) for side in key.rpartition(" ")[2].split("x"))


def _size(size_bytes: float) -> str:
    return f"{size_bytes:.0f}"
