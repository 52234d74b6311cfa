"""Nodes as the arbiter keeps them: what is free on each, and an index that finds room without looking at every node."""

from collections.abc import Iterator
from typing import TypeAlias

from freehold.types.cluster import Node, NodeState, Resources, WorkClass

Amount: TypeAlias = tuple[int, int, int]
"""Thousandths of a core, bytes of memory, devices: whole numbers, which sum up without an error."""

NOTHING: Amount = (0, 0, 0)


def amount_of(resources: Resources) -> Amount:
    """The resources as whole numbers."""
    return round(resources.cores * 1000), resources.memory_bytes, resources.devices


def plus(a: Amount, b: Amount) -> Amount:
    """The sum."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def minus(a: Amount, b: Amount) -> Amount:
    """The difference; may be negative."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def times(a: Amount, count: int) -> Amount:
    """So many of it."""
    return a[0] * count, a[1] * count, a[2] * count


def covers(room: Amount, need: Amount) -> bool:
    """Whether the one is enough for the other."""
    return room[0] >= need[0] and room[1] >= need[1] and room[2] >= need[2]


def fits_in(room: Amount, need: Amount, most: int) -> int:
    """How often it fits, at most `most` times."""
    for has, wants in zip(room, need, strict=True):
        if wants > 0:
            most = min(most, max(0, has) // wants)
    return most


class Host:
    """One node.

    Attributes:
        free: what nothing runs on.
        coming: what those hold that were asked to make room, and who have to end.
        claims: what of `free` and `coming` is kept for whom, by their ids.
        open: what of `free` nobody has a claim to; may be negative, as claims reach for what is still to come.
        tenants: what runs here and what it has, by its id.
        takeable: what could be had by preemption, by the class that has it.
        research: what research has that was not asked to leave, whether or not it can be.
        order: of the nodes of its pool, those that were entered last come last.
    """

    __slots__ = (
        "claims",
        "coming",
        "free",
        "id",
        "open",
        "order",
        "pool",
        "research",
        "state",
        "takeable",
        "tenants",
        "total",
        "zone",
    )

    def __init__(self, node: Node, pool: "Pool") -> None:
        self.id = node.id
        self.zone = node.zone
        self.state = NodeState.LOST  # until it is entered into its pool
        self.total = amount_of(node.total)
        self.pool = pool
        self.free = self.open = self.total
        self.coming = NOTHING
        self.tenants: dict[str, Amount] = {}
        self.takeable = [NOTHING] * len(WorkClass)
        self.research = NOTHING
        self.order = 0
        self.claims: dict[str, Amount] = {}

    @property
    def ready(self) -> bool:
        """Whether anything new may be placed here."""
        return self.state is NodeState.READY

    def become(self, node: Node) -> None:
        """Take note of how the node is now, and what it has."""
        self.pool.leave(self)
        total = amount_of(node.total)
        grown = minus(total, self.total)
        self.total, self.free, self.open = total, plus(self.free, grown), plus(self.open, grown)
        self.state = node.state
        self.pool.enter(self)

    def shift(
        self,
        *,
        free: Amount = NOTHING,
        claimed: Amount = NOTHING,
        coming: Amount = NOTHING,
        lent: tuple[WorkClass, Amount] | None = None,
    ) -> None:
        """Add to what is free, claimed, coming and, of a class, takeable."""
        pool, ready = self.pool, self.state is NodeState.READY
        if ready:
            pool.take_out(self)
        if lent is not None:
            work_class, amount = lent
            self.takeable[work_class] = plus(self.takeable[work_class], amount)
            pool.takeable[work_class] = plus(pool.takeable[work_class], amount)
        self.free = plus(self.free, free)
        self.coming = plus(self.coming, coming)
        self.open = minus(plus(self.open, free), claimed)
        if ready:
            pool.put_in(self)
            pool.reach = plus(plus(pool.reach, free), coming)
            pool.mark(self)

    def claim(self, claimant: str, amount: Amount) -> None:
        """Keep something for somebody."""
        self.claims[claimant] = plus(self.claims.get(claimant, NOTHING), amount)
        self.shift(claimed=amount)

    def unclaim(self, claimant: str) -> None:
        """Keep nothing for somebody any more."""
        self.shift(claimed=minus(NOTHING, self.claims.pop(claimant)))


class Pool:
    """The nodes of one zone and one kind of device. Only those that are ready are found.

    Attributes:
        hosts: all of them, by their ids.
        special: those that are ready and on which something is claimed, or about to be free.
        reach: all that is free and coming on those that are ready, claimed or not.
        takeable: what could be had by preemption, by the class that has it.
    """

    def __init__(self, zone: str | None, kind: str | None) -> None:
        self.zone = zone
        self.kind = kind
        self.hosts: dict[str, Host] = {}
        self.special: dict[Host, None] = {}
        self.reach = NOTHING
        self.takeable = [NOTHING] * len(WorkClass)
        self._entered = 0
        self._by_devices: list[dict[Host, None]] = [{}]
        self._by_cores: list[dict[Host, None]] = [{}]

    @property
    def has_devices(self) -> bool:
        """Whether any of its nodes has one."""
        return len(self._by_devices) > 1

    def enter(self, host: Host) -> None:
        """Have a node found, if it is ready."""
        self.hosts[host.id] = host
        self._entered += 1
        host.order = self._entered
        _lengthen(self._by_devices, host.total[2])
        _lengthen(self._by_cores, host.total[0] // 1000)
        if host.ready:
            self.put_in(host)
            self.reach = plus(self.reach, plus(host.free, host.coming))
            self.mark(host)

    def leave(self, host: Host) -> None:
        """Have a node not found any more."""
        del self.hosts[host.id]
        if host.ready:
            self.take_out(host)
            self.reach = minus(self.reach, plus(host.free, host.coming))
            self.special.pop(host, None)

    def mark(self, host: Host) -> None:
        """Note whether somebody has a claim there, or is about to leave."""
        if host.claims or host.coming != NOTHING:
            self.special[host] = None
        else:
            self.special.pop(host, None)

    def put_in(self, host: Host) -> None:
        """Enter a node in the index by what is open on it."""
        cores, _memory, devices = host.open
        self._by_devices[max(0, devices)][host] = None
        self._by_cores[max(0, cores) // 1000][host] = None

    def take_out(self, host: Host) -> None:
        """The reverse of `put_in`."""
        cores, _memory, devices = host.open
        del self._by_devices[max(0, devices)][host]
        del self._by_cores[max(0, cores) // 1000][host]

    def with_devices(self, devices: int) -> Iterator[Host]:
        """Nodes with so many open devices."""
        for level in self._by_devices[devices:]:
            yield from level

    def levels(self) -> list[dict[Host, None]]:
        """The nodes by how many open devices they have, beginning with none."""
        return self._by_devices

    def find(self, need: Amount) -> Host | None:
        """The node with the least that is enough, so that whole nodes stay whole."""
        cores, memory, devices = need
        levels = self._by_devices[devices:] if devices else self._by_cores[cores // 1000 :]
        for level in levels:
            for host in level:
                has = host.open
                if has[2] >= devices and has[0] >= cores and has[1] >= memory:
                    return host
        return None

    def could_hold(self, devices: int, most: int) -> int:
        """How many members with so many devices there is room for at most, as far as devices tell."""
        count = 0
        for level in range(devices, len(self._by_devices)):
            count += len(self._by_devices[level]) * (level // devices)
            if count >= most:
                return most
        return count

    def ready_hosts(self) -> Iterator[Host]:
        """Those on which something may be placed."""
        return (host for host in self.hosts.values() if host.ready)


def _lengthen(levels: list[dict[Host, None]], most: int) -> None:
    while len(levels) <= most:
        levels.append({})


class Pools:
    """All nodes, by zone and kind of device.

    Attributes:
        total: what all have that are not lost.
        version: another one after every change of a node.
        layout: another one whenever something may be in a pool in which it could not be before.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.total = NOTHING
        self.version = 0
        self.layout = 0
        self._counted: dict[Host, Amount] = {}
        self._pools: dict[tuple[str | None, str | None], Pool] = {}

    def set(self, node: Node) -> Host:
        """Take a node in, or note how it is now; one that changed its zone or kind must have been removed before."""
        host = self.hosts.get(node.id)
        if host is None:
            key = (node.zone, node.total.device_kind if node.total.devices else None)
            pool = self._pools.setdefault(key, Pool(*key))
            self.layout += pool.has_devices < bool(node.total.devices) or not pool.hosts
            host = self.hosts[node.id] = Host(node, pool)
            pool.enter(host)
        host.become(node)
        self._count(host, NOTHING if host.state is NodeState.LOST else host.total)
        return host

    def remove(self, host: Host) -> None:
        """Forget a node."""
        host.pool.leave(host)
        del self.hosts[host.id]
        self._count(host, NOTHING)
        del self._counted[host]

    def _count(self, host: Host, amount: Amount) -> None:
        """Have a node count for so much."""
        self.version += 1
        self.total = plus(minus(self.total, self._counted.get(host, NOTHING)), amount)
        self._counted[host] = amount

    def of(self, zones: frozenset[str] | None, need: Resources) -> tuple[Pool, ...]:
        """Where something may run: for what needs no devices those without any first."""
        found = [
            pool
            for pool in self._pools.values()
            if (zones is None or pool.zone in zones)
            and (need.devices == 0 or (pool.has_devices and need.device_kind in {None, pool.kind}))
        ]
        return tuple(found if need.devices else sorted(found, key=lambda pool: pool.has_devices))
