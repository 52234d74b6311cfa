"""How many replicas a deployment is to have, from what is seen of it. No clock, no I/O: whoever asks says the time.

When somebody has waited longer than `queue_time_s`, there are to be as many as give a slot to all that run and wait,
and one more than there are at least; and before anybody waits, when nearly as many tokens a second are made as the
replicas do that were seen busy. More come at once; fewer only when fewer would have been enough for all of
`down_after_s` (as with the stabilization window of Kubernetes' horizontal autoscaler), and none when nothing ran or
waited for so long. The first request after that brings one back.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from freehold.types.deployment import AutoscaleSettings

_FULL: Final = 0.9
"""The part of the slots, and of the tokens per second, that is planned with: the rest is for what comes meanwhile."""
_FORGET: Final = 0.99
"""What is left, at each look at busy replicas, of the most that one was seen to do."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is seen of a deployment.

    Args:
        at_s: when; never goes back.
        ready: replicas that can take requests.
        running: requests that they work on.
        waiting: requests that wait for one.
        waited_s: how long the first of these has waited.
        slots: requests that one replica works on at once; None where there is no bound.
        tokens_per_s: tokens read and made each second by all replicas; None where the engine does not count them.
    """

    at_s: float
    ready: int
    running: int
    waiting: int
    waited_s: float = 0.0
    slots: int | None = None
    tokens_per_s: float | None = None


class Autoscaler:
    """Says how many replicas are wanted.

    Args:
        settings: between how many, and how patient.
        replicas: how many are wanted at first.

    Attributes:
        wanted: how many are wanted now.
        reason: why, in a few words.
    """

    def __init__(self, settings: AutoscaleSettings, replicas: int) -> None:
        self.settings = settings
        self.wanted = self._bounded(replicas)
        self.reason = "at the start"
        self._needs: deque[tuple[float, int]] = deque()
        self._each: float = 0.0
        self._began_s: float | None = None

    def look(self, seen: Observation) -> int:
        """How many replicas are wanted, by this and by what was seen before."""
        if self._began_s is None:
            self._began_s = seen.at_s
        self._learn(seen)
        need, reason = self._need(seen)
        self._note(seen.at_s, need)
        while len(self._needs) > 1 and self._needs[1][0] <= seen.at_s - self.settings.down_after_s:
            self._needs.popleft()
        if need > self.wanted:
            self.wanted, self.reason = need, reason
        elif seen.at_s - self._began_s >= self.settings.down_after_s and (most := self._needs[0][1]) < self.wanted:
            self.wanted, self.reason = most, f"{most} would have been enough for {self.settings.down_after_s:g} s"
        return self.wanted

    def wake(self, at_s: float) -> int:
        """A request has come and there is no replica: one is wanted."""
        if self.wanted == 0:
            self.wanted, self.reason = self._bounded(1), "a request has come"
            self._note(at_s, self.wanted)
        return self.wanted

    def _note(self, at_s: float, need: int) -> None:
        """Remember what was needed, as far as nothing later was more: the first is the most."""
        while self._needs and self._needs[-1][1] < need:
            self._needs.pop()
        if not self._needs or self._needs[-1][1] > need:
            self._needs.append((at_s, need))

    def _learn(self, seen: Observation) -> None:
        """See what one replica does when all are busy."""
        if seen.tokens_per_s is None or not seen.ready or not seen.slots or seen.running < seen.ready * seen.slots:
            return
        self._each = max(self._each * _FORGET, seen.tokens_per_s / seen.ready)

    def _need(self, seen: Observation) -> tuple[int, str]:
        """How many would be enough for what is seen, and for what."""
        if seen.running == seen.waiting == 0:
            return self.settings.min, "nothing to do"
        need, reason = 1, "requests run"
        if seen.slots:
            need = max(1, math.ceil((seen.running + seen.waiting) / seen.slots))
        if seen.waited_s > self.settings.queue_time_s:
            need = max(need, seen.ready + 1)
            reason = f"{seen.running} run and {seen.waiting} wait, the first for {seen.waited_s:.1f} s"
        else:
            need = min(need, max(1, seen.ready))
        if seen.tokens_per_s is not None and self._each > 0:
            by_tokens = math.ceil(min(self.settings.max, seen.tokens_per_s / (self._each * _FULL)))
            if by_tokens > need:
                need, reason = by_tokens, f"{seen.tokens_per_s:.0f} tokens/s, of which one does {self._each:.0f}"
        return self._bounded(need), reason

    def _bounded(self, replicas: int) -> int:
        return max(self.settings.min, min(self.settings.max, replicas))
