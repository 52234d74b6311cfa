"""Has a deployment looked at now and then, and keeps how many replicas it is to have."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from freehold.serving.autoscale import Autoscaler, Observation
from freehold.serving.offers import NOTHING, Want
from freehold.serving.status import ScaleStatus
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import EngineCounters, Traits

LOOK_S: Final = 1.0
"""How often a deployment is looked at."""

Counters = Callable[[], Awaitable[Sequence[tuple[str, EngineCounters]]]]


class Seen(Protocol):
    """What scaling sees of a replica."""

    @property
    def usable(self) -> bool:
        """Whether it can take requests."""

    @property
    def in_flight(self) -> int:
        """How many it works on."""


class Scaling:
    """How many replicas a deployment is to have: as its settings say, or as what it has to do demands.

    Args:
        settings: the deployment's.
        counters: asks the engines what they have done.
        clock: seconds.
    """

    def __init__(self, settings: DeploymentSettings, counters: Counters, clock: Callable[[], float]) -> None:
        self._deployment = settings.name
        self._replicas = settings.replicas
        self._counters = counters
        self._clock = clock
        self._scaler: Autoscaler | None = None
        self._tokens: dict[str, int] = {}
        self._looked_s: float | None = None
        self._rate: float | None = None
        self._counting: asyncio.Task[None] | None = None
        self._next_s = 0.0
        self.configure(settings)

    def configure(self, settings: DeploymentSettings) -> None:
        """Take new settings; how many there are stays as it is where their bounds allow that."""
        self._replicas = settings.replicas
        autoscale = settings.autoscale
        if autoscale is None:
            self._scaler = None
        elif self._scaler is None:
            self._scaler = Autoscaler(autoscale, max(1, autoscale.min, settings.replicas))
        elif self._scaler.settings != autoscale:
            self._scaler = Autoscaler(autoscale, self._scaler.wanted)

    @property
    def replicas(self) -> int:
        """How many are wanted while the deployment is loaded."""
        if self._replicas == 0 or self._scaler is None:
            return self._replicas
        return max(1, self._scaler.wanted)

    def status(self, wanted: int) -> ScaleStatus | None:
        """What there is to see; None where the settings say how many. `wanted` is 0 while nothing is loaded."""
        if self._scaler is None:
            return None
        bounds = self._scaler.settings
        return ScaleStatus(bounds.min, bounds.max, wanted, self._scaler.reason)

    def left_s(self) -> float | None:
        """How long until the next look; None where none is needed."""
        return None if self._scaler is None else max(0.0, self._next_s - self._clock())

    def wake(self) -> None:
        """A request has come while there is no replica."""
        if self._scaler is not None:
            self._scaler.wake(self._clock())

    def begin(self, replicas: int) -> None:
        """Begin with as many as run already, as another process has had them."""
        if self._scaler is not None:
            self._scaler = Autoscaler(self._scaler.settings, replicas)

    def look(
        self, replicas: Sequence[Seen], waiting: int, waited_s: float, traits: Traits | None, elsewhere: Want = NOTHING
    ) -> bool:
        """Look, if it is time to; whether the deployment is to have no replica now until a request comes.

        Args:
            replicas: those that serve or are to serve.
            waiting: requests that wait here for one.
            waited_s: how long the first of these has waited.
            traits: of the engine.
            elsewhere: what other gateways have to do.
        """
        now = self._clock()
        if self._scaler is None or now < self._next_s:
            return False
        self._next_s = now + LOOK_S
        before = self._scaler.wanted
        usable = [replica for replica in replicas if replica.usable]
        running = sum(replica.in_flight for replica in replicas) + elsewhere.running
        waiting, waited_s = waiting + elsewhere.waiting, max(waited_s, elsewhere.waited_s)
        slots = None if traits is None else traits.parallel
        wanted = self._scaler.look(Observation(now, len(usable), running, waiting, waited_s, slots, self._rate))
        if wanted != before:
            structlog.get_logger(__name__).info(
                "deployment_scaled",
                deployment=self._deployment,
                replicas=wanted,
                before=before,
                reason=self._scaler.reason,
            )
        if usable and self._counting is None:
            self._counting = asyncio.get_running_loop().create_task(self._count(), name=f"count {self._deployment}")
            self._counting.add_done_callback(self._counted)
        return wanted == 0

    async def _count(self) -> None:
        """Find out how many tokens a second are read and made."""
        found = {replica: each.prompt_tokens + each.completion_tokens for replica, each in await self._counters()}
        now = self._clock()
        more = sum(max(0, count - self._tokens.get(replica, count)) for replica, count in found.items())
        if self._looked_s is not None and now > self._looked_s:
            self._rate = more / (now - self._looked_s) if found else None
        self._tokens, self._looked_s = found, now

    def _counted(self, task: "asyncio.Task[None]") -> None:
        self._counting = None
        if not task.cancelled() and (defect := task.exception()) is not None:
            structlog.get_logger(__name__).warning("tokens_not_counted", deployment=self._deployment, error=str(defect))

    async def close(self) -> None:
        """Look no more."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait({self._counting})
