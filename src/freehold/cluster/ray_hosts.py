"""The actors that one process that speaks Ray has in its hands: made, heard, and ended.

Those of jobs end with this process. Those of engines are detached: they go on without it, and obey whoever has them.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from freehold.cluster.host import TAKEN
from freehold.cluster.ray_wire import LOST_CODE, NODE_LABEL, NODE_LOST
from freehold.errors import NoRoom

SILENT_S: Final = 5.0
"""An actor that cannot be reached for this long is taken for lost."""
_AGAIN_S: Final = 0.5
_CLOSE_S: Final = 7.0


@dataclass(frozen=True, slots=True)
class Held:
    """An actor.

    Args:
        actor: Ray's handle of it.
        hand: the name under which this process has a detached one; None where the actor is nobody else's.
        epoch: in whose name that is.
        name: of the actor.
    """

    actor: Any
    hand: str | None = None
    epoch: int = 0
    name: str = ""

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method that only those may who have the actor."""
        return getattr(self.actor, method).remote(*self._me(), *arguments)

    async def end(self) -> None:
        """End it, unless it is in other hands by now; from the answer on it comes into no others, so none lose it.

        What does not answer is killed, except where others may have it without our knowledge: then it ends by itself
        when they have it no more.
        """
        if self.hand is not None:
            try:
                async with asyncio.timeout(SILENT_S):
                    if not await self.actor.give_up.remote(self.hand):
                        return
            except (RayActorError, TimeoutError):
                if self.epoch:
                    return
        ray.kill(self.actor)

    def _me(self) -> tuple[str, ...]:
        return () if self.hand is None else (self.hand,)


class Hosts:
    """See above.

    Args:
        say: writes a message.
    """

    def __init__(self, say: Callable[[Mapping[str, Any]], None]) -> None:
        self.say = say
        self.held: dict[int, Held] = {}
        self._following: dict[int, asyncio.Task[None]] = {}
        self._grouped = set[int]()
        self._elsewhere = set[int]()
        self._ending: set[asyncio.Task[None]] = set()

    def make(self, kind: type, name: str, needs: Mapping[str, Any], strategy: Any, *arguments: Any) -> Any:
        """Make an actor; one with arguments is detached, as that of an engine."""
        made: Any = ray.remote(kind).options(
            name=name,
            num_cpus=needs["cores"],
            num_gpus=needs["devices"],
            memory=needs["memory_bytes"],
            scheduling_strategy=strategy,
            max_concurrency=64,
            max_restarts=0,
            max_task_retries=0,
            lifetime="detached" if arguments else None,
        )
        return made.remote(*arguments)

    async def group(self, members: Sequence[Mapping[str, Any]], timeout_s: float, name: str = "") -> Any:
        """Room for all processes at once, each on the node that was chosen for it; one with a name is detached."""
        bundles = [_bundle(member["needs"]) for member in members]
        labels = [{NODE_LABEL: member["node"]} for member in members]
        lifetime = "detached" if name else None
        group = placement_group(bundles, "PACK", name, lifetime, bundle_label_selector=labels)
        try:
            async with asyncio.timeout(timeout_s):
                await group.ready()
        except BaseException as exc:
            remove_placement_group(group)
            if isinstance(exc, TimeoutError):
                raise NoRoom("The nodes did not have room for all processes at once.") from exc
            raise
        return group

    def follow(self, number: int, count: int, group: Any) -> None:
        """Tell what happens to hosts; what was kept for them is given back when all have ended.

        It is not where one of them has only come into other hands: what was kept is theirs, who give it back.
        """
        numbers = frozenset(range(number, number + count))
        watched = [self._follow(each) for each in sorted(numbers)]
        if group is not None:
            self._grouped |= numbers
            self._following[-number] = asyncio.create_task(self._give_back(numbers, watched, group))

    def end(self, number: int) -> None:
        """End an actor, and with it all that it started."""
        held = self.held.pop(number, None)
        if held is not None:
            ending = asyncio.create_task(held.end(), name=f"end host {number}")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        self._unfollow(number)

    async def release(self, number: int) -> None:
        """Leave a detached actor to whoever takes it."""
        held = self.held.pop(number, None)
        self._leave(number)
        self._unfollow(number)
        if held is not None:
            await held.call("release")

    async def renew(self, numbers: Sequence[int], epoch: int) -> None:
        """Have actors in the same hands in the name of a later epoch; one that does not answer is as it was."""
        held = [self.held[number] for number in numbers if number in self.held]
        await asyncio.gather(*(in_time(each.call("renew", epoch)) for each in held), return_exceptions=True)

    async def close(self) -> None:
        """End all that is in these hands."""
        for number in list(self.held):
            self.end(number)
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=_CLOSE_S)

    async def _give_back(
        self, numbers: frozenset[int], watched: "list[asyncio.Task[None]]", group: PlacementGroup
    ) -> None:
        await asyncio.wait(watched)
        if not numbers & self._elsewhere:
            remove_placement_group(group)
        self._grouped -= numbers
        self._elsewhere -= numbers

    def _leave(self, number: int) -> None:
        """A host is somebody else's, and what was kept for it too."""
        if number in self._grouped:
            self._elsewhere.add(number)

    def _unfollow(self, number: int) -> None:
        task = self._following.pop(number, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _follow(self, number: int) -> "asyncio.Task[None]":
        task = self._following[number] = asyncio.create_task(self._attend(number), name=f"host {number}")
        return task

    async def _attend(self, number: int) -> None:
        """Pass on what happens to a host, and end it when there is no more; not where only this process ends."""
        await self._pass_on(number)
        self.end(number)

    async def _pass_on(self, number: int) -> None:
        """Tell what happens to a host until it ends, is in other hands, or cannot be reached any more."""
        loop, held = asyncio.get_running_loop(), self.held[number]
        reached = loop.time()
        try:
            while True:
                try:
                    news = await held.call("news")
                    reached = loop.time()
                except ActorUnavailableError:
                    if loop.time() - reached > SILENT_S and not await _is_there(held.actor):
                        raise
                    await asyncio.sleep(_AGAIN_S)
                    continue
                for piece in news:
                    if piece[0] == TAKEN:
                        self.held.pop(number, None)
                        self._leave(number)
                        piece = ["exit", 0, f"the gateway '{piece[1]}' has it now"]  # noqa: PLW2901
                    self.say({"n": number, "event": piece})
                    if piece[0] == "exit":
                        return
        except RayActorError as exc:
            why = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            self.say({"n": number, "event": ["exit", LOST_CODE, f"{NODE_LOST}: {why}"]})


async def awaited(reference: Any) -> Any:
    """What a reference of Ray's stands for, as a coroutine."""
    return await reference


async def in_time(reference: Any) -> Any:
    """The same. Raises TimeoutError: it took longer than an actor may be silent."""
    async with asyncio.timeout(SILENT_S):
        return await reference


async def _is_there(actor: Any) -> bool:
    """Whether an actor answers after all."""
    try:
        async with asyncio.timeout(SILENT_S):
            await actor.about.remote()
    except (RayActorError, TimeoutError):
        return False
    return True


def _bundle(needs: Mapping[str, Any]) -> dict[str, float]:
    bundle = {"CPU": needs["cores"], "GPU": needs["devices"], "memory": needs["memory_bytes"]}
    return {name: value for name, value in bundle.items() if value} or {"CPU": 0.001}
