"""One engine of several processes on several nodes, as one: when one process ends, the others are ended."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from freehold.cluster.base import Hosted
from freehold.cluster.process import TAIL_LINES
from freehold.types.cluster import MASTER_ADDRESS, MASTER_PORT, OWN_ADDRESS

UNASKED_CODE: Final = 1
"""The exit code of an engine of which one process ended in good order by itself: the engine has failed all the same."""


class Spanned:
    """The processes of one engine. See `freehold.cluster.base.Hosted`; it has exited when all of them have.

    Args:
        members: its processes, the one that is spoken to first.
        names: of their nodes, for people.
    """

    def __init__(self, members: Sequence[Hosted], names: Sequence[str]) -> None:
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._members = members
        self._names = names
        self._culprit: int | None = None
        self._asked = False
        self._watching = asyncio.create_task(self._watch(), name="engine over several nodes")

    @property
    def pid(self) -> int:
        """That of the first."""
        return self._members[0].pid

    @property
    def tail(self) -> "deque[str]":
        """The last lines of the one that ended first; of the first while all run."""
        return deque(self._members[self._culprit or 0].tail, TAIL_LINES)

    def describe_exit(self) -> str:
        """See `Hosted.describe_exit`."""
        culprit = self._culprit or 0
        how = self._members[culprit].describe_exit()
        return f"of the engine's {len(self._members)} processes the one on '{self._names[culprit]}' ended: {how}"

    async def terminate(self, grace_s: float) -> None:
        """See `Hosted.terminate`."""
        self._asked = True
        await asyncio.gather(*(member.terminate(grace_s) for member in self._members))
        await asyncio.wait({self._watching})

    async def kill(self) -> bool:
        """See `Hosted.kill`."""
        self._asked = True
        gone = await asyncio.gather(*(member.kill() for member in self._members))
        if all(gone):
            await asyncio.wait({self._watching})
        return all(gone)

    async def read_rest(self) -> None:
        """See `Hosted.read_rest`."""
        await asyncio.gather(*(member.read_rest() for member in self._members))

    async def _watch(self) -> None:
        ends = [member.exited for member in self._members]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        self._culprit = next(rank for rank, end in enumerate(ends) if end.done())
        if not self._asked:
            await asyncio.gather(*(member.kill() for member in self._members))
        await asyncio.wait(ends)
        code = ends[self._culprit].result()
        self.exited.set_result(code if self._asked else code or UNASKED_CODE)


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a process is told of where it and the first of those that belong together are.

    Args:
        own: the address of its node.
        master: that of the first's.
        port: on which the first may listen there for the others.
    """

    own: str
    master: str
    port: int

    def in_arguments(self, argv: Sequence[str]) -> list[str]:
        """The arguments with these addresses, also within JSON."""
        return [self._put_in(argument) for argument in argv]

    def in_environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """The environment with these addresses."""
        return {name: self._put_in(value) for name, value in env.items()}

    def _put_in(self, text: str) -> str:
        text = text.replace(OWN_ADDRESS, self.own).replace(MASTER_ADDRESS, self.master)
        return text.replace(MASTER_PORT, str(self.port))


def numbered(rank: int, on_line: Callable[[str], None]) -> Callable[[str], None]:
    """Takes lines of a process that belongs to others, and tells by a number which it is; those of the first as is."""
    return on_line if rank == 0 else lambda line: on_line(f"[{rank}] {line}")
