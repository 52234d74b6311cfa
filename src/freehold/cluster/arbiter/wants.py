"""The kinds of needs: those who need the same in the same zones wait together, and are tried together."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from freehold.cluster.arbiter.decisions import Refusal
from freehold.cluster.arbiter.hosts import NOTHING, Amount, Host, Pool, Pools, amount_of, fits_in, minus, plus, times
from freehold.cluster.arbiter.shares import Want
from freehold.types.cluster import Resources, WorkClass, Workload

_MOST: Final = 4096
"""How many kinds are remembered while nobody waits for them."""

_Groups = tuple[tuple[Amount, tuple[Pool, ...], int], ...]


class Wants:
    """The kinds of needs.

    Args:
        pools: the nodes.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._known: dict[object, tuple[Want, tuple[tuple[Resources, int], ...], frozenset[str] | None]] = {}
        self._waiting: dict[WorkClass, dict[Want, None]] = {each: {} for each in WorkClass}
        self._open: dict[WorkClass, dict[Want, None]] = {each: {} for each in WorkClass}
        self._layout = pools.layout

    def of(self, workload: Workload, zones: frozenset[str] | None) -> tuple[Want, tuple[int, ...]]:
        """What a workload wants, and its members in the order of the groups."""
        self.refresh()
        members = workload.members
        order = tuple(sorted(range(len(members)), key=lambda index: _size(members[index]))) if members[1:] else (0,)
        counted = tuple(Counter(members[index] for index in order).items())
        key = (workload.work_class, counted, zones, workload.checkpoint_s is not None)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST:
                self._forget()
            groups = self._groups(counted, zones)
            amount = NOTHING
            for need, _pools, count in groups:
                amount = plus(amount, times(need, count))
            want = Want(workload.work_class, groups, amount, _union(groups), workload.checkpoint_s is not None)
            known = self._known[key] = (want, counted, zones)
        return known[0], order

    def refresh(self) -> None:
        """Look again where everything may be, if there are places that were not there before."""
        if self._layout != self._pools.layout:
            self._layout = self._pools.layout
            for want, counted, zones in self._known.values():
                want.groups = self._groups(counted, zones)
                want.pools = _union(want.groups)

    def refusal(self, want: Want, workload: Workload, zones: frozenset[str] | None) -> tuple[Refusal, str] | None:
        """Why it can never be placed; None if it can, on an empty cluster."""
        if want.possible == self._pools.version or _fits_empty(want.groups):
            want.possible = self._pools.version
            return None
        needs = _in_words(workload)
        if zones is None:
            return Refusal.NEVER_FITS, f"It needs {needs}, for which no nodes have room, even if they were empty."
        where = ", ".join(sorted(zones))
        anywhere = self._groups(tuple(Counter(workload.members).items()), None)
        if not zones and _fits_empty(anywhere):
            return Refusal.OUTSIDE_ZONES, f"It needs {needs}; no zone that the cluster has is permitted to it."
        if _fits_empty(anywhere):
            return Refusal.OUTSIDE_ZONES, (
                f"It needs {needs}, and may run only in these zones: {where}. Their nodes have not that much, "
                "others have."
            )
        return Refusal.NEVER_FITS, (
            f"It needs {needs}, for which no nodes have room, even if they were empty (zones: {where})."
        )

    def fits_ready(self, want: Want) -> bool:
        """Whether it would fit on those nodes that are ready now, if they were empty."""
        version, fits = want.ready
        if version != self._pools.version:
            fits = _fits_empty(want.groups, ready=True)
            want.ready = self._pools.version, fits
        return fits

    def note(self, want: Want) -> None:
        """Somebody has come to wait, or waits no more."""
        if want.waiting:
            self._waiting[want.work_class][want] = None
            if not want.blocked:
                self._open[want.work_class][want] = None
        else:
            self._waiting[want.work_class].pop(want, None)
            self._open[want.work_class].pop(want, None)
            want.blocked = False

    def block(self, want: Want) -> None:
        """There is no room for it until there is more in its pools."""
        want.blocked = True
        self._open[want.work_class].pop(want, None)

    def unblock(self, work_class: WorkClass, grown: Iterable[Pool]) -> None:
        """There is more in these pools than before."""
        for pool in grown:
            for want in self._waiting[work_class]:
                if want.blocked and pool in want.pools:
                    want.blocked = False
                    self._open[work_class][want] = None

    def open(self, work_class: WorkClass) -> dict[Want, None]:
        """Those for which there may be room."""
        return self._open[work_class]

    def waiting(self, work_class: WorkClass) -> dict[Want, None]:
        """Those for which somebody waits."""
        return self._waiting[work_class]

    def _groups(self, counted: tuple[tuple[Resources, int], ...], zones: frozenset[str] | None) -> _Groups:
        return tuple((amount_of(need), self._pools.of(zones, need), count) for need, count in counted)

    def _forget(self) -> None:
        """Forget those that nobody waits for and nobody has."""
        for key, (want, _counted, _zones) in list(self._known.items()):
            if want.users == 0:
                del self._known[key]


def _size(need: Resources) -> tuple[int, float, int, str]:
    """Largest first."""
    return -need.devices, -need.cores, -need.memory_bytes, need.device_kind or ""


def _union(groups: _Groups) -> tuple[Pool, ...]:
    return tuple(dict.fromkeys(pool for _amount, pools, _count in groups for pool in pools))


def _fits_empty(groups: _Groups, *, ready: bool = False) -> bool:
    """Whether there is room for all members on all nodes, or those that are ready, if nothing ran on them."""
    left: dict[Host, Amount] = {}
    for amount, pools, count in groups:
        hosts = [host for pool in pools for host in pool.hosts.values() if host.ready or not ready]
        hosts.sort(key=lambda host: left.get(host, host.total)[2])
        missing = count
        for host in hosts:
            room = left.get(host, host.total)
            placed = fits_in(room, amount, missing)
            if placed:
                left[host] = minus(room, times(amount, placed))
                missing -= placed
            if missing == 0:
                break
        if missing:
            return False
    return True


def _in_words(workload: Workload) -> str:
    """What it needs, such as `2 x (8 NVIDIA H100, 16 cores, 64.0 GB)`."""
    parts = []
    for need, count in Counter(workload.members).items():
        has = [f"{need.devices} {need.device_kind or 'devices'}"] if need.devices else []
        has += [f"{need.cores:g} cores"] if need.cores else []
        has += [f"{need.memory_bytes / 1e9:.1f} GB"] if need.memory_bytes else []
        parts.append(f"{count} x ({', '.join(has) or 'nothing'})" if count > 1 else ", ".join(has) or "nothing")
    return " and ".join(parts)
