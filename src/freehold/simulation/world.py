"""Everything put together, and run."""

from typing import Final

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import Taken
from freehold.simulation.agenda import Agenda
from freehold.simulation.callers import Asker, askers
from freehold.simulation.deployment import Deployment
from freehold.simulation.engine import Replica
from freehold.simulation.floor import Floor
from freehold.simulation.gateway import Gateway, Request
from freehold.simulation.jobs import Group, groups
from freehold.simulation.scenario import Scenario
from freehold.simulation.tally import Sample, Tally
from freehold.types.cluster import Workload
from freehold.types.deployment import ReplicaState

HOUR_S: Final = 3600.0
_SAMPLES: Final = 240
"""How often it is looked how everything stands."""


class Seat:
    """A replica's place on the cluster.

    Args:
        deployment: whose it is.
        replica: it.
        world: where it is.
    """

    def __init__(self, deployment: Deployment, replica: Replica, world: "World") -> None:
        settings = deployment.settings
        self.deployment = deployment
        self.replica = replica
        self._world = world
        self.workload = Workload(
            id=replica.id,
            work_class=deployment.rank,
            organization_id=settings.organization,
            project_id=settings.project,
            members=(settings.needs.resources,),
            zones=None if settings.zones is None else frozenset(settings.zones),
            queued_at_s=world.agenda.now,
        )

    def placed(self, nodes: tuple[str, ...], *, again: bool) -> None:  # noqa: ARG002  # a replica never goes on
        """See `Tenant.placed`."""
        self.replica.node_ids = nodes
        self.deployment.placed(self.replica)

    def asked(self, deadline: float) -> None:
        """See `Tenant.asked`: a replica that is asked leaves when its requests are done."""
        raise AssertionError(f"replica '{self.replica.id}' has no checkpoint and was asked to leave by {deadline}")

    def taken(self, reason: Taken) -> None:  # noqa: ARG002  # a node is gone, whatever is said
        """See `Tenant.taken`."""
        self._world.lose(self)

    def refused(self, detail: str) -> None:
        """See `Tenant.refused`."""
        self.replica.hopeless = True
        self.replica.state = ReplicaState.BACKING_OFF
        self._world.refused[self.deployment.name] = detail


class World:
    """A scenario that runs.

    Args:
        scenario: what it begins with.
        seed: of all that is left to chance; the scenario's own where it is not given.
        arbiter: who decides; a new one where it is not given.
        gateway: what callers come to.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int | None = None,
        arbiter: Arbiter | None = None,
        gateway: type[Gateway] = Gateway,
    ) -> None:
        self.scenario = scenario
        self.seed = scenario.seed if seed is None else seed
        self.agenda = Agenda(scenario.starts_at.timestamp())
        self.tally = Tally()
        self.floor = Floor(scenario, self.agenda, self.tally, self.seed, arbiter or Arbiter(scenario.share))
        self.seats: dict[str, Seat] = {}
        self.refused: dict[str, str] = {}
        """Deployments that will never run here, and why."""
        self.deployments = {
            settings.name: Deployment(settings, self.agenda, self._ask_for, self._give_up)
            for settings in scenario.deployment
        }
        self.gateway = gateway(scenario, self.agenda, self.deployments, self.tally)
        self.askers: list[Asker] = askers(scenario.caller, self.deployments, self.agenda, self.seed)
        self.groups: list[Group] = groups(scenario.job, self.floor, self.seed)

    def begin(self) -> None:
        """Put up the nodes and the deployments, and let everybody come."""
        self.floor.begin()
        for deployment in self.deployments.values():
            deployment.begin()
        for group in self.groups:
            group.begin()
        for asker in self.askers:
            asker.begin(self.gateway)
        step = self.scenario.hours * HOUR_S / _SAMPLES
        self.agenda.at(min(1.0, step / 2), self._sample, step)

    def run(self) -> Tally:
        """Run from the beginning to the end."""
        self.begin()
        self.tally.events = self.agenda.run(self.scenario.hours * HOUR_S)
        self.floor.meter.advance(self.agenda.now)
        return self.tally

    def lose(self, seat: Seat) -> None:
        """A replica's node is gone: it is replaced, and what it worked on is tried elsewhere."""
        lost = seat.replica.lose()
        del self.seats[seat.replica.id]
        self.floor.release(seat)
        seat.deployment.lost(seat.replica)
        for request in lost:
            assert isinstance(request, Request), "replicas work on requests"
            self.gateway.lost(request)

    def _ask_for(self, deployment: Deployment, replica: Replica) -> None:
        seat = self.seats[replica.id] = Seat(deployment, replica, self)
        self.floor.submit(seat)

    def _give_up(self, replica: Replica) -> None:
        seat = self.seats.pop(replica.id)
        if replica.id in self.floor.tenants:
            self.floor.release(seat)

    def _sample(self, step: float) -> None:
        """See how everything stands, now and again."""
        self.tally.samples.append(
            Sample(
                at_s=self.agenda.now,
                used=tuple(self.floor.meter.used.values()),
                total=self.floor.meter.total,
                waiting=sum(deployment.lending.waiting for deployment in self.deployments.values()),
                running=len(self.gateway.running),
                replicas={name: each.ready for name, each in self.deployments.items()},
                jobs_waiting=sum(
                    workload not in self.floor.holding for workload in self.floor.tenants if workload not in self.seats
                ),
            )
        )
        self.agenda.at(self.agenda.now + step, self._sample, step)
