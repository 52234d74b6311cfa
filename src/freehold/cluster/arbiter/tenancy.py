"""What it means for nodes and books that something runs, is to leave, and has left."""

from freehold.cluster.arbiter.hosts import NOTHING, Host, minus, plus
from freehold.cluster.arbiter.shares import NO_TIME, Books, Entry, State
from freehold.types.cluster import WorkClass


def occupy(entry: Entry, started: int) -> None:
    """Have something run where its parts are; `started` is its place among those that run."""
    entry.state, entry.started, entry.deadline_s = State.RUNNING, started, NO_TIME
    line, preemptible, research = entry.line, entry.want.preemptible, entry.work_class is WorkClass.RESEARCH
    line.running[entry.id] = entry
    if preemptible:
        line.takeable = plus(line.takeable, entry.want.amount)
    for host, amount in entry.held().items():
        host.tenants[entry.id] = amount
        if research:
            host.research = plus(host.research, amount)
        host.shift(free=minus(NOTHING, amount), lent=(entry.work_class, amount) if preemptible else None)


def count_out(entry: Entry, books: Books) -> None:
    """Count what something has as coming, from now on."""
    line, preemptible, research = entry.line, entry.want.preemptible, entry.work_class is WorkClass.RESEARCH
    del line.running[entry.id]
    if preemptible:
        line.takeable = minus(line.takeable, entry.want.amount)
    books.unbook(line, entry.want.amount)
    for host, amount in entry.held().items():
        if research:
            host.research = minus(host.research, amount)
        host.shift(coming=amount, lent=(entry.work_class, minus(NOTHING, amount)) if preemptible else None)


def vacate(entry: Entry) -> list[Host]:
    """Free what something had that was counted out; the nodes where it was."""
    held = entry.held()
    for host, amount in held.items():
        del host.tenants[entry.id]
        host.shift(free=amount, coming=minus(NOTHING, amount))
    entry.parts = []
    return list(held)
