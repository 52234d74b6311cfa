"""In whose hands a host on a node is, when it heard of them last, and when it gives them up.

A hand is one gateway's process that speaks Ray; it has a name that no other ever has. Who takes the host into his hands
has it, and whoever had it before has it no more: what that one still says does nothing. A later epoch goes before an
earlier one; of the same epoch nobody takes from another gateway what that one still holds.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from freehold.errors import Conflict, NotFound

HELD_S: Final = 10.0
"""A gateway that was not heard for so long holds nothing any more, as far as others of its epoch go."""


class Custody:
    """See above. May be asked from any thread.

    Args:
        hand: in whose hands it is at first.
        owner: which gateway that is.
        epoch: in whose name.
        clock: seconds, never going back.
    """

    def __init__(self, hand: str, owner: str, epoch: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.owner = owner
        self.epoch = epoch
        self._hand: str | None = hand
        self._clock = clock
        self._heard_s = self._called_s = clock()
        self._busy = 0
        self._over = False
        self._lock = threading.Lock()

    def has(self, hand: str) -> bool:
        """Whether it is in those hands."""
        return hand == self._hand

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count whoever has asked for something as heard until that is done."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._heard_s = self._clock()

    def heard(self) -> None:
        """Hear the gateway that has it."""
        self._heard_s = self._clock()

    def called(self) -> None:
        """Hear any gateway that uses it: it is not forgotten, though nobody may have it."""
        self._called_s = self._clock()

    @property
    def silent_s(self) -> float:
        """How long the gateway that has it was not heard."""
        return 0.0 if self._busy else self._clock() - self._heard_s

    @property
    def held(self) -> bool:
        """Whether a gateway has it still, as far as can be told."""
        return self._hand is not None and self.silent_s < HELD_S

    def take(self, hand: str, owner: str, epoch: int) -> None:
        """Put it into other hands.

        Raises:
            NotFound: it has ended.
            Conflict: it is in the hands of a later epoch, or of another gateway that still holds it.
        """
        with self._lock:
            if self._over:
                raise NotFound("The engine has ended.")
            if epoch < self.epoch or (epoch == self.epoch and owner != self.owner and self.held):
                raise Conflict(f"The gateway '{self.owner}' has the engine, in the name of epoch {self.epoch}.")
            self._hand, self.owner, self.epoch = hand, owner, epoch
            self._heard_s = self._clock()

    def renew(self, hand: str, epoch: int) -> bool:
        """Have it in the name of a later epoch, if it is in those hands; whether it is."""
        with self._lock:
            if self.has(hand):
                self.epoch = max(self.epoch, epoch)
            return self.has(hand)

    def close(self, hand: str) -> bool:
        """Have nobody take it any more, if it is in those hands, as whoever has it ends it; whether it is."""
        with self._lock:
            self._over = self._over or self.has(hand)
            return self.has(hand)

    def let_go(self, hand: str) -> None:
        """Leave it to whoever takes it, if it is in those hands."""
        with self._lock:
            if self.has(hand):
                self._hand = None

    def give_up(self, after_s: float) -> bool:
        """Have it end, so that nobody takes it any more, if no gateway was heard for that long; whether so."""
        with self._lock:
            forgotten = min(self.silent_s, self._clock() - self._called_s) > after_s
            self._over = self._over or forgotten
            return forgotten
