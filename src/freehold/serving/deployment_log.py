"""The last that happened to a deployment: what its engines wrote, and the states that its replicas went through.

It is in memory, bounded, and goes with the server; the server's own log has the same and more.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from freehold.serving.status import ReplicaStatus

MOST: Final = 1000
"""Entries that are kept of one deployment."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that happened.

    Args:
        at: when, in seconds since the epoch.
        replica: to which replica.
        kind: `log` for a line that the engine wrote, `state` for a new state of the replica.
        text: the line, or the state with, where something went wrong, what.
    """

    at: float
    replica: str
    kind: Literal["log", "state"]
    text: str


class DeploymentLog:
    """Keeps the last entries of one deployment.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._entries: deque[LogEntry] = deque(maxlen=MOST)
        self._states: dict[str, str] = {}

    def heard(self, replica: str, line: str) -> None:
        """Take a line that an engine wrote."""
        self._entries.append(LogEntry(self._clock(), replica, "log", line))

    def changed(self, status: ReplicaStatus) -> None:
        """Take a replica's status, if its state is another one than before."""
        if self._states.get(status.id) == status.state.value:
            return
        self._states[status.id] = state = status.state.value
        if state == "stopped":
            del self._states[status.id]
        reason = (status.error or "").partition("\n")[0]
        self._entries.append(LogEntry(self._clock(), status.id, "state", f"{state}: {reason}" if reason else state))

    def tail(self, count: int) -> list[LogEntry]:
        """The last entries, the oldest of them first."""
        return list(islice(self._entries, max(0, len(self._entries) - count), None))
