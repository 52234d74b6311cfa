"""Finds room among what is free and kept for nobody."""

from freehold.cluster.arbiter.hosts import Amount, Host, Pool, minus
from freehold.cluster.arbiter.shares import Want


def find_room(want: Want) -> list[tuple[Host, Amount]] | None:
    """A place for every member, in the order of the groups; None if there is none for all of them at once.

    Large members go first, each to the node where least is left over.
    """
    if len(want.groups) == 1 and want.groups[0][2] == 1:
        amount, pools, _one = want.groups[0]
        host = _find(pools, amount)
        return None if host is None else [(host, amount)]
    if not has_devices(want):
        return None
    found: list[tuple[Host, Amount]] = []
    complete = all(_fill(found, amount, pools, count) for amount, pools, count in want.groups)
    for host, amount in found:
        host.shift(claimed=minus((0, 0, 0), amount))
    return found if complete else None


def has_devices(want: Want) -> bool:
    """Whether there is room for each group of members as far as devices tell, and if it were the only one."""
    for amount, pools, count in want.groups:
        if amount[2] and sum(pool.could_hold(amount[2], count) for pool in pools) < count:
            return False
    return True


def _fill(found: list[tuple[Host, Amount]], amount: Amount, pools: tuple[Pool, ...], count: int) -> bool:
    """Hold places for so many members; whether there are so many."""
    for _ in range(count):
        host = _find(pools, amount)
        if host is None:
            return False
        host.shift(claimed=amount)
        found.append((host, amount))
    return True


def _find(pools: tuple[Pool, ...], amount: Amount) -> Host | None:
    for pool in pools:
        host = pool.find(amount)
        if host is not None:
            return host
    return None
