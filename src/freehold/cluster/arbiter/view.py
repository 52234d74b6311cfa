"""What is to be seen of an arbiter: who has room, who waits and why, and who has how much of his due."""

from dataclasses import dataclass

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import Waiting
from freehold.cluster.arbiter.shares import State, dominant
from freehold.types.cluster import WorkClass, Workload


@dataclass(frozen=True, slots=True)
class Standing:
    """One workload.

    Args:
        state: `running`, `yielding` (asked to leave), `ending` (told to), or `waiting`.
        nodes: where it runs, for each member.
        reason: why it waits.
        deadline_s: when it is ended, while it is yielding.
    """

    workload: Workload
    state: str
    nodes: tuple[str, ...]
    reason: Waiting | None
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """What a project has of one class.

    Args:
        weight: of the project, within its organization.
        organization_weight: of the organization, within the class.
        share: of the cluster, by the resource of which it has most; 1 is all.
        ratio: the same divided by the weight: whose is smallest goes first.
        running: workloads that run.
        waiting: workloads that wait.
    """

    work_class: WorkClass
    organization_id: str
    project_id: str | None
    weight: float
    organization_weight: float
    share: float
    ratio: float
    running: int
    waiting: int


def workloads(arbiter: Arbiter) -> list[Standing]:
    """All that run and wait: the most urgent first, then as they came."""
    found = []
    for entry in sorted(arbiter.entries.values(), key=lambda each: (each.work_class, *each.since)):
        live = entry.state in {State.RUNNING, State.YIELDING, State.ENDING}
        found.append(
            Standing(
                workload=entry.workload,
                state=entry.state.name.lower() if live else "waiting",
                nodes=entry.nodes() if live else (),
                reason=arbiter.waiting(entry.id),
                deadline_s=entry.deadline_s if entry.state is State.YIELDING else None,
            )
        )
    return found


def parts(arbiter: Arbiter) -> list[Part]:
    """What every project has of each class, of those that had or wanted anything since the start."""
    waiting: dict[object, int] = {}
    for entry in arbiter.entries.values():
        if entry.state in {State.WAITING, State.PENDING}:
            waiting[entry.line] = waiting.get(entry.line, 0) + 1
    return [
        Part(
            work_class=work_class,
            organization_id=line.organization.id,
            project_id=line.project_id,
            weight=line.weight,
            organization_weight=line.organization.weight,
            share=dominant(line.booked, arbiter.pools.total),
            ratio=line.ratio,
            running=len(line.running),
            waiting=waiting.get(line, 0),
        )
        for work_class in WorkClass
        for line in arbiter.books.lines(work_class)
    ]
