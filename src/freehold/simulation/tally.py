"""What is counted while the simulation runs."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from freehold.errors import FreeholdError, Overloaded, QuotaExceeded, RateLimited
from freehold.types.cluster import WorkClass, Workload


class Outcome(StrEnum):
    """What became of a request; each has exactly one."""

    FINISHED = "finished"
    RATE_LIMITED = "rate_limited"
    OVER_BUDGET = "over_budget"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    BROKEN = "broken"
    GAVE_UP = "gave_up"


@dataclass(slots=True)
class JobCounts:
    """What became of jobs. Work is device-hours, or core-hours where there are no devices."""

    submitted: int = 0
    finished: int = 0
    refused: int = 0
    preempted: int = 0
    """How often a job was asked to make room."""
    too_slow: int = 0
    """How often its devices were taken before its checkpoint was written."""
    broken: int = 0
    """How often a job lost a node."""
    worked_h: float = 0.0
    """Work that counted in the end."""
    lost_h: float = 0.0
    """Work that had to be done again."""
    overhead_h: float = 0.0
    """Devices held while starting and while writing a checkpoint because of being asked to."""


@dataclass(slots=True)
class Sample:
    """How everything stood at one moment."""

    at_s: float
    used: tuple[float, ...]
    """Devices (or cores) by class."""
    total: float
    """Of the nodes that are there."""
    waiting: int
    """Requests that wait for a replica."""
    running: int
    """Requests that were admitted and have not ended."""
    replicas: Mapping[str, int]
    """That serve, by their deployment."""
    jobs_waiting: int


@dataclass(slots=True)
class Tally:
    """Counts of requests and jobs, and samples over time.

    `waits` and `firsts` are seconds from a request's arrival until it got a replica, and until its first token.
    """

    arrived: Counter[WorkClass] = field(default_factory=Counter)
    outcomes: dict[WorkClass, Counter[Outcome]] = field(default_factory=lambda: {rank: Counter() for rank in WorkClass})
    reasons: Counter[str] = field(default_factory=Counter)
    waits: dict[WorkClass, "array[float]"] = field(default_factory=lambda: {rank: array("d") for rank in WorkClass})
    firsts: dict[WorkClass, "array[float]"] = field(default_factory=lambda: {rank: array("d") for rank in WorkClass})
    money_micro: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By organization."""
    finished: Counter[str] = field(default_factory=Counter)
    """Finished requests by organization."""
    jobs: JobCounts = field(default_factory=JobCounts)
    node_failures: int = 0
    outages: int = 0
    events: int = 0
    samples: list[Sample] = field(default_factory=list)

    def closed(
        self,
        rank: WorkClass,
        outcome: Outcome,
        waited: float | None,
        first: float | None,
        organization: str,
        cost_micro: int,
    ) -> None:
        """Count a request that has ended."""
        self.outcomes[rank][outcome] += 1
        if waited is not None:
            self.waits[rank].append(waited)
        if first is not None:
            self.firsts[rank].append(first)
        if outcome is Outcome.FINISHED:
            self.finished[organization] += 1
            self.money_micro[organization] += cost_micro


def reason_of(refusal: FreeholdError) -> str:
    """Why a request was refused, without names: a limit by its scope and kind, or what the deployment lacked."""
    if isinstance(refusal, Overloaded):
        return "deployment: queue is full"
    if isinstance(refusal, QuotaExceeded):
        period = "month" if "per month" in refusal.limit else "day"
        return f"{refusal.scope}: budget per {period}"
    if isinstance(refusal, RateLimited):
        return f"{refusal.scope}: {refusal.limit.rpartition(' on ')[2]}"
    return "deployment: no replica"


class Meter:
    """How much of the nodes is used by whom, added up over time; in devices, or in cores where there are none.

    Of what callers' replicas leave, an organization's research is due, at each moment, what it has work for, but not
    more than its share; what one does not need is the others' (max-min fairness). What it has of that, over what it is
    due, is how well it was served: borrowed devices do not make up for a lack at another time, and who asks for nothing
    lacks nothing.

    Args:
        weights: of organizations; 1 for those that are not named.
        devices: whether devices are counted, rather than cores.
    """

    def __init__(self, weights: Mapping[str, float], *, devices: bool) -> None:
        self.devices = devices
        self.total = 0.0
        self.total_s = 0.0
        self.used = dict.fromkeys(WorkClass, 0.0)
        self.used_s = dict.fromkeys(WorkClass, 0.0)
        self.had_s: defaultdict[str, float] = defaultdict(float)
        self.got_s: defaultdict[str, float] = defaultdict(float)
        self.due_s: defaultdict[str, float] = defaultdict(float)
        self._weights = weights
        self._has: defaultdict[str, float] = defaultdict(float)
        self._wants: defaultdict[str, float] = defaultdict(float)
        self._since = 0.0

    def advance(self, now: float) -> None:
        """Add up to a time, before something changes."""
        passed = now - self._since
        if passed <= 0:
            return
        self._since = now
        self.total_s += self.total * passed
        for rank, amount in self.used.items():
            self.used_s[rank] += amount * passed
        left = self.total - sum(amount for rank, amount in self.used.items() if rank is not WorkClass.RESEARCH)
        for name, due in self._due(max(0.0, left)).items():
            self.had_s[name] += self._has[name] * passed
            self.due_s[name] += due * passed
            self.got_s[name] += min(self._has[name], due) * passed

    def _due(self, total: float) -> dict[str, float]:
        """What each organization that asks is due: by weight, and what one does not need goes to the others."""
        due: dict[str, float] = {}
        asking = {name: wanted for name, wanted in self._wants.items() if wanted > 0}
        while asking:
            each = total / sum(self._weights.get(name, 1.0) for name in asking)
            content = [name for name, wanted in asking.items() if wanted <= each * self._weights.get(name, 1.0)]
            if not content:
                return due | {name: each * self._weights.get(name, 1.0) for name in asking}
            for name in content:
                due[name] = asking.pop(name)
                total -= due[name]
        return due

    def wants(self, workload: Workload, amount: float) -> None:
        """Somebody asks for so much more, or less."""
        if workload.work_class is WorkClass.RESEARCH:
            self._wants[workload.organization_id] += amount

    def has(self, workload: Workload, amount: float) -> None:
        """Somebody gets so much more, or less."""
        self.used[workload.work_class] += amount
        if workload.work_class is WorkClass.RESEARCH:
            self._has[workload.organization_id] += amount

    def served(self) -> dict[str, float]:
        """How much of what it was due each organization got; 1 is all."""
        return {name: self.got_s[name] / due for name, due in sorted(self.due_s.items()) if due > 0}


def jain(values: Iterable[float]) -> float:
    """Jain's fairness index (Jain, Chiu and Hawe 1984): 1 where all are equal, 1/n where one has everything."""
    found = list(values)
    squares = sum(value * value for value in found)
    return sum(found) ** 2 / (len(found) * squares) if squares else 1.0
