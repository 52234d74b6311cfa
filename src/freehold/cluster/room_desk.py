"""What is asked of a desk: room for a workload, and engines that are there already.

`freehold.cluster.desk.ArbiterDesk` is the one where an arbiter decides; `Unasked` the one where nobody does.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from freehold.cluster.base import HostedRecord, Placement
from freehold.types.cluster import Workload


@dataclass(frozen=True, slots=True)
class Had:
    """Room that a workload has.

    Args:
        nodes: the ids of the nodes for its members, in their order; empty where the cluster chooses.
        wanted_back: done with the seconds that it may take at most, as soon as the room is to be given back.
    """

    nodes: tuple[str, ...] = ()
    wanted_back: "asyncio.Future[float]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class RoomDesk(Protocol):
    """Where room is asked for. A workload has what `room` gave until it gives that back."""

    async def room(self, workload: Workload, on_wait: Callable[[], None] = lambda: None) -> Had:
        """Wait for room; who stops waiting gives back what it asked for.

        Args:
            workload: what wants it.
            on_wait: called if there is none at once.

        Raises:
            InvalidRequest: it will never have any, such as in the zones where it may run; says why.
            Unavailable: the cluster cannot be reached.
        """

    async def claim(self, workload: Workload, placement: Placement) -> HostedRecord | None:
        """An engine that was left from before and is as good as a new one; it has the workload's room from now on.

        None where there is none. Whoever gets it attaches it, and gives its room back as he would that from `room`.

        Raises:
            Unavailable: the cluster cannot be reached.
        """

    def release(self, workload_id: str, *, again: bool = False) -> None:
        """Take room back that a workload has, or that it waits for; of one that is not known, nothing.

        Args:
            workload_id: names it.
            again: whether it keeps its turn, and asks again.
        """

    @property
    def version(self) -> int:
        """Another one whenever the nodes have changed."""

    async def changed(self, version: int, workload: Workload | None = None) -> None:
        """Return when something that was refused may be possible.

        Args:
            version: that of the time when it was refused; another one is a reason.
            workload: what was refused; that it may be elsewhere now is another one.
        """


class Unasked:
    """Where nobody decides: everyone has room at once, and the cluster says where there is none."""

    async def room(
        self,
        workload: Workload,  # noqa: ARG002  # as the protocol has it
        on_wait: Callable[[], None] = lambda: None,  # noqa: ARG002
    ) -> Had:
        """See `RoomDesk.room`."""
        return Had()

    async def claim(
        self,
        workload: Workload,  # noqa: ARG002
        placement: Placement,  # noqa: ARG002
    ) -> HostedRecord | None:
        """See `RoomDesk.claim`: nothing is left where nothing outlives the gateway."""
        return None

    def release(self, workload_id: str, *, again: bool = False) -> None:
        """See `RoomDesk.release`."""

    version: Final = 0

    async def changed(self, version: int, workload: Workload | None = None) -> None:  # noqa: ARG002  # likewise
        """See `RoomDesk.changed`; nobody refuses, and nothing changes that."""
        await asyncio.get_running_loop().create_future()
