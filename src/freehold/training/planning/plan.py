"""A plan: what a recipe takes on so many devices, and the quickest layout that fits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from freehold.errors import ConfigError
from freehold.training.language.recipes import LanguageRecipe
from freehold.training.planning.devices import Device
from freehold.training.planning.layouts import layouts, near
from freehold.training.planning.memory import Memory, Room, memory_of
from freehold.training.planning.timing import Roofline, Speeds, StepTime, model_flops, step_time
from freehold.training.planning.work import attention_flops, matrix_flops
from freehold.training.trainer.recipe import Layout
from freehold.training.trainer.share import StepShare

HOUR_S = 3600
DAY_S = 24 * HOUR_S
GPU_ALLOWANCE = 0.08
"""Of what comes and goes, what torch's allocator loses between its pieces where segments can grow."""


class Site(Protocol):
    """Where a training is to run: a number of equal devices."""

    @property
    def name(self) -> str:
        """Of the kind of device."""
        ...

    @property
    def devices(self) -> int:
        """How many there are."""
        ...

    @property
    def node(self) -> int:
        """Devices with fast links to each other."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Of each device."""
        ...

    def peak(self, recipe: LanguageRecipe) -> float:
        """Operations a second of one device at most, in the recipe's precision."""
        ...

    def room(self, recipe: LanguageRecipe) -> Room:
        """How it keeps what a recipe needs."""
        ...

    def speeds(self, recipe: LanguageRecipe) -> Speeds:
        """How fast it computes what a recipe needs."""
        ...


@dataclass(frozen=True, slots=True)
class Accelerators:
    """Devices of the table.

    Args:
        device: of each.
        devices: how many.
        network_bytes_s: between nodes, for each device; None: what is usual for them.
    """

    device: Device
    devices: int
    network_bytes_s: float | None = None

    @property
    def name(self) -> str:
        """Of the device."""
        return self.device.name

    @property
    def node(self) -> int:
        """Devices of a node."""
        return self.device.node

    @property
    def memory_bytes(self) -> int:
        """Of each."""
        return self.device.memory_bytes

    def peak(self, recipe: LanguageRecipe) -> float:
        """In bfloat16, or half of it in TF32."""
        return self.device.flops / (2 if _number(recipe) == 4 else 1)

    def room(self, recipe: LanguageRecipe) -> Room:
        """In the device's own memory; copies for checkpoints lie in the host's."""
        return Room(_number(recipe), recipe.training.precision.compile, False, self.device.process_bytes, GPU_ALLOWANCE)

    def speeds(self, recipe: LanguageRecipe) -> Speeds:
        """By the roofline.

        Raises:
            ConfigError: it has no units for the recipe's precision.
        """
        precision = recipe.training.precision
        if precision.float8 and self.device.flops_8bit is None:
            raise ConfigError(f"precision.float8: a {self.name} has no units for 8 bits; set it to false")
        network = self.device.network_bytes_s if self.network_bytes_s is None else self.network_bytes_s
        return Roofline(self.device, _number(recipe), network, precision.compile, precision.float8)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training takes.

    Args:
        recipe: with the layout that is planned.
        site: where.
        layout: replicas x shards x tensor.
        samples: of a micro-batch on one device.
        pieces: micro-batches of a step.
        memory: on each device.
        step: how long each takes.
        peak: operations a second of one device at most.
    """

    recipe: LanguageRecipe
    site: Site
    layout: Layout
    samples: int
    pieces: int
    memory: Memory
    step: StepTime
    peak: float

    @property
    def fits(self) -> bool:
        """Whether each device has the memory."""
        return self.memory.peak <= self.site.memory_bytes

    @property
    def tokens_s(self) -> float:
        """Of all devices together."""
        return self.recipe.training.batch * self.recipe.sequence / self.step.total

    @property
    def utilization(self) -> float:
        """Share of the peak, counted without what is computed again (MFU)."""
        return model_flops(self.recipe) / (self.step.total * self.peak * self.site.devices)

    @property
    def evaluations_s(self) -> float:
        """All evaluations: their samples go forward only."""
        training = self.recipe.training
        times = training.steps // training.evaluate_every if training.evaluate_every else 1
        return max(1, times) * training.evaluate_samples / training.batch * self.step.forward

    @property
    def seconds(self) -> float:
        """The whole training."""
        return self.recipe.training.steps * self.step.total + self.evaluations_s

    @property
    def device_hours(self) -> float:
        """What is paid for."""
        return self.seconds * self.site.devices / HOUR_S

    @property
    def flops(self) -> dict[str, float]:
        """Operations of the whole training, by what they are for."""
        return {"weights": matrix_flops(self.recipe), "attention": attention_flops(self.recipe)}

    def cost(self, price_hour: float) -> float:
        """At a price of one device's hour."""
        return self.device_hours * price_hour

    def as_json(self, price_hour: float | None = None) -> dict[str, Any]:
        """All that is known, for `--json`."""
        model = self.recipe.model
        return {
            "object": "training.plan",
            "recipe": self.recipe.model_dump(mode="json"),
            "parameters": model.parameters,
            "tokens": self.recipe.tokens,
            "flops": {**self.flops, "total": sum(self.flops.values())},
            "device": self.site.name,
            "devices": self.site.devices,
            "device_memory_bytes": self.site.memory_bytes,
            "layout": self.layout._asdict(),
            "micro_batch": self.samples,
            "accumulation": self.pieces,
            "memory": self.memory.as_json(),
            "fits": self.fits,
            "step": {
                "forward_s": self.step.forward,
                "backward_s": self.step.backward,
                "exchanges_s": self.step.exchanges,
                "optimizer_s": self.step.optimizer,
                "total_s": self.step.total,
            },
            "tokens_s": self.tokens_s,
            "utilization": self.utilization,
            "seconds": self.seconds,
            "device_hours": self.device_hours,
            "cost": None if price_hour is None else self.cost(price_hour),
        }


def plan_of(recipe: LanguageRecipe, site: Site) -> Plan:
    """What the recipe takes, as it is written.

    Raises:
        ConfigError: so many devices cannot be laid out as the recipe wants, or its batch not be divided among them.
    """
    layout = recipe.training.parallel.layout(site.devices)
    share = StepShare.of(recipe.training, 0, layout.data)
    return Plan(
        recipe,
        site,
        layout,
        share.size,
        share.pieces,
        memory_of(recipe, layout, site.room(recipe)),
        step_time(recipe, layout, site.speeds(recipe)),
        site.peak(recipe),
    )


def best_plan(recipe: LanguageRecipe, site: Site, *, batch_is_free: bool = False) -> Plan:
    """The plan with the quickest tokens among those that fit; where none fits, the one that needs the least memory.

    Raises:
        ConfigError: the batch cannot be divided among so many devices.
    """
    plans = [plan_of(each, site) for each in layouts(recipe, site.devices, site.node, batch_is_free=batch_is_free)]
    if not plans:
        return plan_of(recipe, site)
    wanted = [plan for plan in plans if near(plan.recipe, recipe.training.batch)] or plans
    fitting = [plan for plan in wanted if plan.fits] or [plan for plan in plans if plan.fits]
    if not fitting:
        return min(plans, key=lambda plan: plan.memory.peak)
    return max(fitting, key=_speed)


def _speed(plan: Plan) -> float:
    return plan.tokens_s


def fewest_devices(recipe: LanguageRecipe, site_of: Callable[[int], Site], most: int = 1 << 16) -> int | None:
    """The least power of two of devices on which the recipe fits; None if there is none up to `most`."""
    count = 1
    while count <= most:
        if best_plan(recipe, site_of(count), batch_is_free=True).fits:
            return count
        count *= 2
    return None


def _number(recipe: LanguageRecipe) -> int:
    return 4 if recipe.training.precision.compute == "float32" else 2
