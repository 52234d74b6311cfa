"""Room for trainings: asked for, had, taken back. Whose turn it is, the arbiter decides, where there is one."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

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

    async def room(self, workload: Workload) -> Had:
        """Wait for room.

        Raises:
            InvalidRequest: it will never have any, such as in the zones where it may run; says why.
        """

    async def give_back(self, workload_id: str, *, again: bool = False) -> None:
        """Take room back that a workload has, or that it waits for; of one that is not known, nothing.

        Args:
            workload_id: names it.
            again: whether it keeps its turn, and asks again.
        """


class Unasked:
    """Where nobody decides: everyone has room at once, and the cluster says where there is none."""

    async def room(self, workload: Workload) -> Had:  # noqa: ARG002  # as the protocol has it
        """See `RoomDesk.room`."""
        return Had()

    async def give_back(self, workload_id: str, *, again: bool = False) -> None:
        """See `RoomDesk.give_back`."""
