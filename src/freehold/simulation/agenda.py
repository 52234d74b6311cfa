"""What is to happen, by its time. Time stands still while something happens, and leaps to what comes next."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeAlias

Action: TypeAlias = Callable[[Any], None]


class Agenda:
    """The events to come, and the time. Two at the same moment happen in the order in which they were put down.

    Args:
        starts_at: the beginning, seconds since the epoch.

    Attributes:
        now: seconds since the beginning.
    """

    def __init__(self, starts_at: float) -> None:
        self.now = 0.0
        self.starts_at = starts_at
        self._events: list[tuple[float, int, Action, Any]] = []
        self._soon: deque[tuple[Action, Any]] = deque()
        self._number = 0

    def wall(self) -> float:
        """The time, seconds since the epoch."""
        return self.starts_at + self.now

    def clock(self) -> float:
        """The time, seconds since the beginning."""
        return self.now

    def at(self, when: float, action: Action, argument: Any = None) -> None:
        """Do something at a time; what lies in the past is done next."""
        self._number += 1
        heappush(self._events, (max(self.now, when), self._number, action, argument))

    def soon(self, action: Action, argument: Any = None) -> None:
        """Do something as soon as what happens now is over, before anything else."""
        self._soon.append((action, argument))

    def run(self, until: float, after: Callable[[], None] | None = None) -> int:
        """Let happen what there is up to a time, and leave the clock there.

        Args:
            until: seconds since the beginning.
            after: called after every event.

        Returns:
            How many events there were.
        """
        events = self._events
        count = 0
        self._drain()
        while events and events[0][0] <= until:
            self.now, _, action, argument = heappop(events)
            action(argument)
            if self._soon:
                self._drain()
            count += 1
            if after is not None:
                after()
        self.now = until
        return count

    def _drain(self) -> None:
        """Do what was to be done soon."""
        soon = self._soon
        while soon:
            action, argument = soon.popleft()
            action(argument)
