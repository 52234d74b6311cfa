"""Research jobs: gangs that compute for hours, write checkpoints, make room when asked, and go on later."""

from collections.abc import Iterator, Sequence

from freehold.cluster.arbiter.decisions import Taken
from freehold.simulation.agenda import Agenda
from freehold.simulation.draws import HOUR_S, arrival_times, generator, spread
from freehold.simulation.floor import Floor
from freehold.simulation.scenario import Jobs
from freehold.simulation.tally import Tally
from freehold.types.cluster import WorkClass, Workload


class Job:
    """One job.

    Args:
        settings: its kind.
        project: on whose share it counts.
        job_id: unique in this simulation.
        work_s: seconds that it computes in all.
        floor: where it wants a place.
    """

    def __init__(self, settings: Jobs, project: str, job_id: str, work_s: float, floor: Floor) -> None:
        self._settings = settings
        self._floor = floor
        self._agenda: Agenda = floor.agenda
        self._tally: Tally = floor.tally
        self.work_s = work_s
        self.workload = Workload(
            id=job_id,
            work_class=WorkClass.RESEARCH,
            organization_id=settings.organization,
            project_id=project,
            members=(settings.needs.resources,) * settings.members,
            zones=None if settings.zones is None else frozenset(settings.zones),
            queued_at_s=self._agenda.now,
            checkpoint_s=settings.checkpoint_s,
        )
        self._units_h = floor.units(self.workload) / HOUR_S
        self._saved_s = 0.0
        """Work that is in a checkpoint."""
        self._computes_from: float | None = None
        self._stopped_at: float | None = None
        """How much was done when it stopped computing to write a checkpoint."""
        self._placed_at = 0.0
        self._run = 0
        """Which placement this is; what was put down for an earlier one does not happen."""
        self.waited_s: float | None = None
        """From its submission until its first placement."""

    def submit(self) -> None:
        """Want a place."""
        self._tally.jobs.submitted += 1
        self._floor.submit(self)

    def placed(self, nodes: tuple[str, ...], *, again: bool) -> None:  # noqa: ARG002  # where does not matter here
        """See `Tenant.placed`."""
        now = self._agenda.now
        if self.waited_s is None:
            self.waited_s = now - self.workload.queued_at_s
            self._tally.waits[WorkClass.RESEARCH].append(self.waited_s)
        self._run += 1
        self._placed_at = now
        self._computes_from = now + self._settings.restart_s
        self._agenda.at(self._computes_from + self.work_s - self._saved_s, self._finish, self._run)

    def asked(self, deadline: float) -> None:
        """See `Tenant.asked`: write a checkpoint, unless that takes too long; the arbiter ends it then."""
        self._tally.jobs.preempted += 1
        self._stopped_at = self._done_s()
        self._run += 1
        written = self._agenda.now + self._settings.checkpoint_takes_s
        if written <= deadline:
            self._agenda.at(written, self._written, self._run)

    def taken(self, reason: Taken) -> None:
        """See `Tenant.taken`: what is in no checkpoint is lost."""
        if reason is Taken.NODE_LOST:
            self._tally.jobs.broken += 1
        else:
            self._tally.jobs.too_slow += 1
        every = self._settings.checkpoint_every_s
        since = self._done_s() - self._saved_s
        self._stop(self._saved_s + since // every * every)

    def refused(self, detail: str) -> None:  # noqa: ARG002  # it is counted, not told
        """See `Tenant.refused`."""
        self._tally.jobs.refused += 1

    def _done_s(self) -> float:
        """Work that is done, saved or not."""
        if self._stopped_at is not None or self._computes_from is None:
            return self._stopped_at or self._saved_s
        return min(self.work_s, self._saved_s + max(0.0, self._agenda.now - self._computes_from))

    def _written(self, run: int) -> None:
        if run == self._run and self._computes_from is not None:
            self._stop(self._done_s())

    def _stop(self, saved_s: float) -> None:
        """Leave the nodes with so much of the work saved, and wait for others."""
        self._account(saved_s)
        self._saved_s, self._computes_from, self._stopped_at = saved_s, None, None
        self._floor.leave(self)

    def _finish(self, run: int) -> None:
        if run != self._run or self._computes_from is None:
            return
        self._account(self.work_s)
        self._computes_from = None
        self._tally.jobs.finished += 1
        self._floor.release(self)

    def _account(self, saved_s: float) -> None:
        """Count what this placement was good for."""
        counts, held_s = self._tally.jobs, self._agenda.now - self._placed_at
        worked_s, done_s = saved_s - self._saved_s, self._done_s() - self._saved_s
        lost_s = max(0.0, done_s - worked_s)
        counts.worked_h += worked_s * self._units_h
        counts.lost_h += lost_s * self._units_h
        counts.overhead_h += max(0.0, held_s - worked_s - lost_s) * self._units_h


class Group:
    """Who submits jobs of one kind.

    Args:
        settings: the kind.
        project: whose they are.
        name: unique among those who submit.
        floor: where they want a place.
        seed: of the simulation.
    """

    def __init__(self, settings: Jobs, project: str, name: str, floor: Floor, seed: int) -> None:
        self._settings = settings
        self._floor = floor
        self._times: Iterator[float] = arrival_times(
            generator(seed, f"job/{name}"), settings.arrivals, floor.agenda.starts_at
        )
        self._hours = spread(generator(seed, f"job/{name}/hours"), settings.hours)
        self._project = project
        self._name = name
        self._number = 0

    def begin(self) -> None:
        """Submit jobs from now on: those that are there from the beginning, and then one after the other."""
        for _ in range(self._settings.at_start):
            self._submit()
        self._next()

    def _come(self, _nothing: None) -> None:
        self._submit()
        self._next()

    def _submit(self) -> None:
        self._number += 1
        name = f"{self._name}-{self._number}"
        Job(self._settings, self._project, name, self._hours() * HOUR_S, self._floor).submit()

    def _next(self) -> None:
        when = next(self._times, None)
        if when is not None:
            self._floor.agenda.at(when, self._come)


def groups(kinds: Sequence[Jobs], floor: Floor, seed: int) -> list[Group]:
    """All who submit jobs."""
    found = []
    for settings in kinds:
        for number in range(1, settings.count + 1):
            end = f"-{number}" if settings.count > 1 else ""
            found.append(Group(settings, f"{settings.project}{end}", f"{settings.name}{end}", floor, seed))
    return found
