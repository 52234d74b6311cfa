"""How many administrative changes there were, and how many are under way: what a backup must not come between."""

import secrets
from types import TracebackType
from typing import Self


class Changes:
    """Counts changes from their beginning until they are recorded in the journal."""

    def __init__(self) -> None:
        self.begun = secrets.randbits(48)
        """How many have begun, on top of a random number: the counts of two services are not taken for each other's."""
        self.running = 0
        """How many of them are not recorded yet."""

    def begin(self) -> "Change":
        """A change that begins with its block."""
        return Change(self)


class Change:
    """One change; it ends with `end`, at the latest with its block."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._running = False

    def __enter__(self) -> Self:
        self._running = True
        self._changes.begun += 1
        self._changes.running += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """It is done and recorded, though its answer may go on; a second call does nothing."""
        if self._running:
            self._running = False
            self._changes.running -= 1
