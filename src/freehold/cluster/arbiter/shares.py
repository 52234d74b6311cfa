"""Whose turn it is within a class: who has the least of what is his due.

That is dominant resource fairness (Ghodsi et al., NSDI 2011): of cores, memory and devices the one counts of which
somebody has the largest part of the cluster; divided by his weight, the smallest goes first. It is asked first among
organizations, then among the projects of one, as in Hadoop's hierarchical fair scheduler.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from freehold.cluster.arbiter.hosts import NOTHING, Amount, Host, Pool, minus, plus
from freehold.types.cluster import ShareSettings, WorkClass, Workload

NO_TIME: Final = float("inf")
_ROUNDING: Final = 1e-9


class State(Enum):
    """How far something is."""

    WAITING = auto()
    PENDING = auto()
    """Its place is claimed; others still have to leave."""
    RUNNING = auto()
    YIELDING = auto()
    """It was asked to leave."""
    ENDING = auto()
    """It was told to end at once."""


@dataclass(eq=False, slots=True)
class Standing:
    """What an organization, or one of its projects, has of one class.

    Args:
        weight: how much more than others it is due.
        booked: what it runs, and what is claimed for it; not what it was asked to leave.
        ratio: its dominant share of the cluster, divided by its weight.
    """

    weight: float
    booked: Amount = NOTHING
    ratio: float = 0.0

    def book(self, amount: Amount, total: Amount) -> None:
        """Count something in."""
        self.booked = plus(self.booked, amount)
        self.ratio = dominant(self.booked, total) / self.weight


@dataclass(eq=False, slots=True)
class Organization(Standing):
    """An organization in one class, with its projects."""

    id: str = ""
    lines: "dict[str | None, Line]" = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Line(Standing):
    """A project in one class.

    Args:
        running: what it runs and was not asked to leave, in the order in which that was started.
        takeable: what of this could be had by preemption.
    """

    organization: Organization = field(default_factory=lambda: Organization(1.0))
    project_id: str | None = None
    running: "dict[str, Entry]" = field(default_factory=dict)
    takeable: Amount = NOTHING


@dataclass(eq=False, slots=True)
class Want:
    """What is wanted: by any number of workloads of one class that need the same in the same zones.

    Args:
        groups: how many members need what, largest first, and where each may be.
        amount: all of it.
        pools: where any of it may be.
        preemptible: whether those who want it can be asked to leave again.
        blocked: whether the first of them did not fit; so none does, until more is free.
        waiting: those who wait, first come first, by their lines.
        guests: of those who wait, who has how many guests, by their ids.
        users: how many there are that want it, whether they wait or run.
        possible: the version of the nodes with which it was found that it fits on an empty cluster.
        ready: the version of the nodes with which it was found whether it fits on those that are ready.
    """

    work_class: WorkClass
    groups: tuple[tuple[Amount, tuple[Pool, ...], int], ...]
    amount: Amount
    pools: tuple[Pool, ...]
    preemptible: bool
    blocked: bool = False
    waiting: "dict[Line, list[Entry]]" = field(default_factory=dict)
    guests: dict[str, int] = field(default_factory=dict)
    users: int = 0
    possible: int = -1
    ready: tuple[int, bool] = (-1, False)


@dataclass(eq=False, slots=True)
class Entry:
    """A workload that the arbiter knows.

    Args:
        order: its members as the groups of its want have them.
        number: of those who came at one time the smallest came first.
        parts: where its members run; or what is claimed for them.
        guest_of: who may have it leave although they are of its own class, as it runs on what is kept for them.
        deadline_s: when it ends, where it was asked to leave.
        started: of those that run the smallest began first.
        ran: whether it ran before.
    """

    workload: Workload
    want: Want
    line: Line
    order: tuple[int, ...]
    number: int
    state: State = State.WAITING
    parts: list[tuple[Host, Amount]] = field(default_factory=list)
    guest_of: tuple[str, ...] = ()
    deadline_s: float = NO_TIME
    started: int = 0
    ran: bool = False

    @property
    def id(self) -> str:
        """The workload's."""
        return self.workload.id

    @property
    def work_class(self) -> WorkClass:
        """The workload's."""
        return self.workload.work_class

    @property
    def since(self) -> tuple[float, int]:
        """Its place among those of its line."""
        return self.workload.queued_at_s, self.number

    def nodes(self) -> tuple[str, ...]:
        """The node of each member, in the members' order."""
        found = [""] * len(self.parts)
        for (host, _amount), index in zip(self.parts, self.order, strict=True):
            found[index] = host.id
        return tuple(found)

    def held(self) -> dict[Host, Amount]:
        """What its parts come to on each node."""
        if len(self.parts) == 1:
            return dict(self.parts)
        found: dict[Host, Amount] = {}
        for host, amount in self.parts:
            found[host] = plus(found.get(host, NOTHING), amount)
        return found


def dominant(amount: Amount, total: Amount) -> float:
    """The largest part that it is of the total of anything."""
    return max((has / of for has, of in zip(amount, total, strict=True) if of), default=0.0)


def turn(entry: Entry) -> tuple[float, float, float, int]:
    """Smallest is next: who has least of his due, then who came first."""
    line = entry.line
    return line.organization.ratio, line.ratio, entry.workload.queued_at_s, entry.number


def _least(a: Amount, b: Amount) -> Amount:
    return min(a[0], b[0]), min(a[1], b[1]), min(a[2], b[2])


class Books:
    """Who has what, by class, organization and project.

    Args:
        shares: the weights of those who are due more or less than others, and where they may be.
    """

    def __init__(self, shares: Iterable[ShareSettings]) -> None:
        self._shares = {(share.organization, share.project): share for share in shares}
        self._organizations: dict[WorkClass, dict[str, Organization]] = {each: {} for each in WorkClass}
        self.total = NOTHING

    def line(self, workload: Workload) -> Line:
        """The line in which a workload stands."""
        organizations = self._organizations[workload.work_class]
        organization = organizations.get(workload.organization_id)
        if organization is None:
            weight = self._weight(workload.organization_id, None)
            organization = organizations[workload.organization_id] = Organization(weight, id=workload.organization_id)
        line = organization.lines.get(workload.project_id)
        if line is None:
            weight = 1.0 if workload.project_id is None else self._weight(organization.id, workload.project_id)
            line = Line(weight, organization=organization, project_id=workload.project_id)
            organization.lines[workload.project_id] = line
        return line

    def zones(self, workload: Workload) -> frozenset[str] | None:
        """Where a workload may run, its organization's and project's zones considered."""
        zones = workload.zones
        for project in dict.fromkeys((None, workload.project_id)):
            share = self._shares.get((workload.organization_id, project))
            if share is not None and share.zones is not None:
                zones = frozenset(share.zones) if zones is None else zones & frozenset(share.zones)
        return zones

    def book(self, line: Line, amount: Amount) -> None:
        """Count something in."""
        line.book(amount, self.total)
        line.organization.book(amount, self.total)

    def unbook(self, line: Line, amount: Amount) -> None:
        """Count something out."""
        self.book(line, minus(NOTHING, amount))

    def resize(self, total: Amount) -> None:
        """The cluster has become larger or smaller."""
        self.total = total
        for organizations in self._organizations.values():
            for organization in organizations.values():
                organization.book(NOTHING, total)
                for line in organization.lines.values():
                    line.book(NOTHING, total)

    def lines(self, work_class: WorkClass) -> Iterator[Line]:
        """All lines of a class."""
        for organization in self._organizations[work_class].values():
            yield from organization.lines.values()

    def richest_first(self, work_class: WorkClass) -> Iterator[Line]:
        """The lines of a class, the one that has most of its due first."""
        for organization in sorted(self._organizations[work_class].values(), key=_ratio, reverse=True):
            yield from sorted(organization.lines.values(), key=_ratio, reverse=True)

    def after(self, entry: Entry) -> tuple[float, float]:
        """The ratios that its organization and its project would have with it."""
        line, amount = entry.line, entry.want.amount
        organization = line.organization
        return (
            dominant(plus(organization.booked, amount), self.total) / organization.weight,
            dominant(plus(line.booked, amount), self.total) / line.weight,
        )

    def lenders(self, entry: Entry) -> list[Line]:
        """Those of its class that have more of their due than it would have, so that something may be reclaimed."""
        of_organization, of_project = self.after(entry)
        found = []
        for organization in self._organizations[entry.work_class].values():
            if organization is entry.line.organization:
                found += [line for line in organization.lines.values() if line.ratio > of_project]
            elif organization.ratio > of_organization:
                found += organization.lines.values()
        return sorted(
            (line for line in found if line.takeable != NOTHING and line is not entry.line),
            key=lambda line: (-line.organization.ratio, -line.ratio),
        )

    def reclaimable(self, entry: Entry, lenders: Iterable[Line]) -> Amount:
        """How much of each resource those who have more of their due could lose at most, until they have no more."""
        of_organization, of_project = self.after(entry)
        found = NOTHING
        left: dict[Organization, Amount] = {}
        for line in lenders:
            organization = line.organization
            if organization is entry.line.organization:
                found = plus(found, _least(line.takeable, self._beyond(line, of_project)))
                continue
            beyond = left.get(organization)
            if beyond is None:
                beyond = self._beyond(organization, of_organization)
            loss = _least(line.takeable, beyond)
            left[organization] = minus(beyond, loss)
            found = plus(found, loss)
        return found

    def _beyond(self, standing: Standing, ratio: float) -> Amount:
        """What somebody can lose of each resource and still have so much of his due: all, where others make it up."""
        due = ratio * standing.weight
        parts = [has / of if of else 0.0 for has, of in zip(standing.booked, self.total, strict=True)]
        enough = [part >= due for part in parts]
        cores, memory, devices = (
            has if any(enough[:each] + enough[each + 1 :]) else max(0, has - int(due * of - _ROUNDING * of))
            for each, (has, of) in enumerate(zip(standing.booked, self.total, strict=True))
        )
        return cores, memory, devices

    def _weight(self, organization: str, project: str | None) -> float:
        share = self._shares.get((organization, project))
        return 1.0 if share is None else share.weight


def _ratio(standing: Standing) -> float:
    return standing.ratio
