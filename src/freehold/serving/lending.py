"""Lends the replicas of one deployment: who gets which, and who waits until one has a free slot.

Which replicas there are, and whether more are to come, is `freehold.serving.replica_set`'s business.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from freehold.errors import DeploymentNotFound, EngineUnavailable
from freehold.serving.choice import ANY, Living, Wish, choose
from freehold.serving.prompt_cache import PromptCache, Watch
from freehold.serving.queue import Queue, Waiter
from freehold.serving.replica import Replica
from freehold.serving.status import Lease

LeaseT = TypeVar("LeaseT")
LeaseT_co = TypeVar("LeaseT_co", covariant=True)


class Lendable(Living, Protocol[LeaseT_co]):
    """A replica that can be lent."""

    @property
    def suspect(self) -> bool:
        """Whether a request broke off on it and it is not known yet whether it is at fault."""

    def lend(self, watch: Watch | None = None) -> LeaseT_co:
        """Count a request in; `watch` is to be told how it goes."""

    def release(self) -> None:
        """Count a request out."""


LendableT = TypeVar("LendableT", bound=Lendable[Any])
LendableT_co = TypeVar("LendableT_co", bound=Lendable[Any], covariant=True)
Lent: TypeAlias = tuple[LendableT, LeaseT]
"""What a request gets: a replica, and what it is told of it."""
Grant: TypeAlias = Lent[Replica, Lease]


class Outlook(Protocol[LendableT_co]):
    """What lending must know of a deployment."""

    def serving(self) -> Sequence[LendableT_co]:
        """The replicas that serve or are to serve."""

    def room(self) -> int:
        """How many requests may wait."""

    def limit_s(self, patience_s: float) -> float:
        """How long a request of that patience waits for a replica that is not ready."""

    def hopeful(self, wish: Wish, left_s: float) -> bool:
        """Whether one is likely to be ready soon."""

    def unavailable(self, wish: Wish) -> EngineUnavailable | DeploymentNotFound:
        """Why no replica can take the request, for the caller's eyes."""

    def used(self) -> None:
        """A request has come or gone, or waits no more."""


class Lending(Generic[LendableT, LeaseT]):
    """The replicas of one deployment, lent out, and the line of those who wait.

    Only `in_turn` and `any_replica` wait; they want an event loop, and everything else only a clock. Whoever waits in
    another way, as the simulator does, calls `enter`, `consider` and `leave` as `in_turn` does.

    Args:
        deployment: its name.
        outlook: what there is to lend.
        prompts: what the replicas have read.
        clock: seconds; the loop's time where there is a loop.
    """

    def __init__(
        self, deployment: str, outlook: Outlook[LendableT], prompts: PromptCache, clock: Callable[[], float]
    ) -> None:
        self._outlook = outlook
        self._prompts = prompts
        self._queue: Queue[Wish, Lent[LendableT, LeaseT]] = Queue(deployment)
        self._watchers: set[asyncio.Future[None]] = set()
        self._clock = clock
        self._turn = 0
        self._turns: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        """Requests that wait for a replica."""
        return len(self._queue)

    @property
    def waited_s(self) -> float:
        """How long the request has waited that has waited longest."""
        since = min((waiter.since for waiter in self._queue), default=None)
        return 0.0 if since is None else self._clock() - since

    @property
    def lent(self) -> int:
        """How many requests got a replica."""
        return self._turn

    @property
    def awaited(self) -> bool:
        """Whether anybody waits for anything."""
        return bool(self._watchers) or len(self._queue) > 0

    def at_once(self, wish: Wish) -> Lent[LendableT, LeaseT] | None:
        """A replica with a free slot that is under no suspicion; None if there is none.

        Whoever of those who wait could have it would have had it already: nobody is overtaken.
        """
        serving = self._outlook.serving()
        if len(serving) == 1:  # as of most deployments: there is nothing to choose
            replica = serving[0] if serving[0].free and serving[0].id not in wish.avoid else None
        else:
            replica = choose(serving, wish, self._turns, self._prompts)
        return None if replica is None or replica.suspect else self._lend(replica, wish)

    async def in_turn(self, waiter: Waiter[Wish, Lent[LendableT, LeaseT]]) -> Lent[LendableT, LeaseT]:
        """Wait for a replica until it is this request's turn. When it is given up, nothing of it is left.

        Raises:
            EngineUnavailable: none can take the request; says why, and when to try again.
            Overloaded: all are busy, and the request may not wait.
            DeploymentNotFound: it was removed meanwhile.
        """
        left_s = self.enter(waiter)
        try:
            while waiter.grant is None:
                await waiter.woken(left_s)
                if waiter.grant is None:
                    left_s = self.consider(waiter)
        except BaseException:
            if waiter.grant is not None:
                self.give_back(waiter.grant[0])
            raise
        finally:
            self.leave(waiter)
        return waiter.grant

    def enter(self, waiter: Waiter[Wish, Lent[LendableT, LeaseT]]) -> float | None:
        """Serve the waiter at once, or have it wait its turn; the seconds after which it is to look again, if any.

        Raises: as `in_turn`.
        """
        left_s = self.consider(waiter)
        if waiter.grant is None:
            waiter.since = self._clock()
            self._queue.join(waiter, self._outlook.room())
        return left_s

    def leave(self, waiter: Waiter[Wish, Lent[LendableT, LeaseT]]) -> None:
        """The waiter waits no more, served or not."""
        self._queue.leave(waiter)
        self._outlook.used()

    def give_back(self, replica: LendableT) -> None:
        """Take a lent replica back; whoever is next gets it."""
        replica.release()
        self._dispatch()
        self._outlook.used()

    async def any_replica(self, deadline: float, worthwhile: Callable[[float], bool]) -> LendableT:
        """Wait for a usable replica, busy or not; for one under suspicion only until it is cleared or time is up.

        Args:
            deadline: the loop's time at which to give up.
            worthwhile: whether to wait on, given the seconds that are left.

        Raises: as `in_turn`, but for Overloaded.
        """
        while (replica := self._healthiest()) is None or replica.suspect:
            left_s = deadline - self._clock()
            if replica is not None and left_s <= 0:
                break
            if left_s <= 0 or not worthwhile(left_s):
                raise self._outlook.unavailable(ANY)
            watcher = asyncio.get_running_loop().create_future()
            self._watchers.add(watcher)
            try:
                async with asyncio.timeout(left_s):
                    await watcher
            except TimeoutError:
                continue
            finally:
                self._watchers.discard(watcher)
                self._outlook.used()
        return replica

    def announce(self) -> None:
        """After any change: serve who can be served, and let everyone else who waits look again."""
        self._dispatch()
        self._queue.trim(self._outlook.room())
        self._queue.wake()
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)

    def forget(self, replica: LendableT) -> None:
        """The replica is not among those that serve any more."""
        self._turns.pop(replica.id, None)
        self._prompts.forget(replica.id)

    def _healthiest(self) -> LendableT | None:
        usable = (replica for replica in self._outlook.serving() if replica.usable)
        return min(usable, key=lambda replica: replica.doubt, default=None)

    def _choose(self, wish: Wish) -> LendableT | None:
        return choose(self._outlook.serving(), wish, self._turns, self._prompts)

    def _lend(self, replica: LendableT, wish: Wish) -> Lent[LendableT, LeaseT]:
        self._turn += 1
        self._turns[replica.id] = self._turn
        watch = None
        serving = self._outlook.serving()
        if len(serving) > 1 and wish.prompt is not None:
            others = [other for other in serving if other is not replica]
            watch = self._prompts.lent(replica, others, wish.prompt)
        return replica, replica.lend(watch)

    def consider(self, waiter: Waiter[Wish, Lent[LendableT, LeaseT]]) -> float | None:
        """Serve the waiter if that is possible now; else the seconds that it may go on waiting, None for no limit.

        Raises: as `in_turn`.

        Its patience runs while no replica is ready, and while only one under suspicion is free.
        """
        wish = waiter.wish
        replica = self._choose(wish)
        if replica is None and any(r.usable and r.id not in wish.avoid for r in self._outlook.serving()):
            if waiter.patience_s <= 0:
                raise self._queue.overloaded(waiter.tier)
            waiter.deadline = None
            return None
        now = self._clock()
        if waiter.deadline is None:
            waiter.deadline = now + self._outlook.limit_s(waiter.patience_s)
        left_s = waiter.deadline - now
        if replica is not None and (left_s <= 0 or not replica.suspect):
            self._queue.serve(waiter, self._lend(replica, wish))
        elif left_s <= 0 or not self._outlook.hopeful(wish, min(left_s, waiter.patience_s)):
            raise self._outlook.unavailable(wish)
        return left_s

    def _dispatch(self) -> None:
        """Give the free slots to those who wait, in their order."""
        while len(self._queue) and (found := self._next()) is not None:
            waiter, replica = found
            self._queue.serve(waiter, self._lend(replica, waiter.wish))

    def _next(self) -> tuple[Waiter[Wish, Lent[LendableT, LeaseT]], LendableT] | None:
        """Who is served next, and by which replica. For whom only one under suspicion is free is to look again."""
        free = [replica for replica in self._outlook.serving() if replica.free]
        if not free:
            return None
        for waiter in self._queue:
            replica = choose(free, waiter.wish, self._turns, self._prompts)
            if replica is not None and not replica.suspect:
                return waiter, replica
            waiter.wake()
        return None
