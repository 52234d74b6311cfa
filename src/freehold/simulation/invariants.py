"""What must hold at every moment, whatever happens: looked at after every event, from the outside.

Nothing here asks the ledger, the lending or the arbiter what they believe: it is counted anew from what was asked for
and what was given.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from freehold.simulation.invariants_cluster import ClusterChecks
from freehold.simulation.invariants_limits import LimitChecks
from freehold.simulation.tally import Tally
from freehold.simulation.world import HOUR_S, World

MOST_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold.

    Args:
        invariant: which one, in a few words.
        detail: what was seen.
        at_s: when, seconds since the beginning.
    """

    invariant: str
    detail: str
    at_s: float

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at_s:.3f} s: {self.detail}"


class Checker:
    """Looks at a world after every event.

    Args:
        world: not begun yet.
        longest_s: see `ClusterChecks`.

    Attributes:
        violations: what did not hold, each kind once for each thing; the first ones.
    """

    def __init__(self, world: World, longest_s: float | None = None) -> None:
        self.violations: list[Violation] = []
        self.looked = 0
        self._world = world
        self._told: set[tuple[str, str]] = set()
        self._cluster = ClusterChecks(world, self._tell, longest_s)
        self._limits = LimitChecks(world, self._tell)

    def run(self) -> Tally:
        """Run the world to its end, and look all the time."""
        world = self._world
        world.begin()
        world.tally.events = world.agenda.run(world.scenario.hours * HOUR_S, self.look)
        world.floor.meter.advance(world.agenda.now)
        self.look()
        self._limits.finish()
        return world.tally

    def look(self) -> None:
        """Look at everything."""
        self.looked += 1
        self._limits.look()
        self._cluster.look()
        self._look_at_requests()

    def _look_at_requests(self) -> None:
        """Each request that came has one outcome or is on its way, and is in one place only."""
        world = self._world
        running, tally = world.gateway.running, world.tally
        came, ended = sum(tally.arrived.values()), sum(sum(outcomes.values()) for outcomes in tally.outcomes.values())
        if came != ended + len(running):
            self._tell("requests are conserved", "all", f"{came} came, {ended} ended, {len(running)} are on their way")
        lent: Counter[str] = Counter()
        waiting: Counter[str] = Counter()
        for request in running:
            deployment = request.candidates[request.position]
            if (request.replica is None) == (request.waiter is None):
                self._tell("a request is in one place", deployment.name, "one has both a replica and a place in a line")
            elif request.replica is not None:
                lent[request.replica.id] += 1
            else:
                waiting[deployment.name] += 1
        for deployment in world.deployments.values():
            for replica in (*deployment.replicas, *deployment.leaving):
                if lent[replica.id] != replica.in_flight:
                    detail = f"it counts {replica.in_flight} requests and has {lent[replica.id]}"
                    self._tell("replicas are given back", replica.id, detail)
                if replica.in_flight > deployment.settings.model.parallel:
                    self._tell("replicas are not overloaded", replica.id, f"it works on {replica.in_flight}")
            if deployment.lending.waiting != waiting[deployment.name]:
                detail = f"{deployment.lending.waiting} stand in line, {waiting[deployment.name]} say that they do"
                self._tell("a request is in one place", deployment.name, detail)

    def _tell(self, invariant: str, what: str, detail: str) -> None:
        """Note what does not hold."""
        if (invariant, what) not in self._told and len(self.violations) < MOST_TOLD:
            self._told.add((invariant, what))
            self.violations.append(Violation(invariant, f"{what}: {detail}", self._world.agenda.now))
