"""How often somebody may fail to sign in: per account and per address, in bounded memory."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from freehold.errors import RateLimited

MAX_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many failures are free: each one after them doubles the wait, from one second to `longest_s`.

    A failure is forgotten after `longest_s` without another one.
    """

    failures: int
    longest_s: float


ACCOUNT = Allowance(failures=5, longest_s=900.0)
ADDRESS = Allowance(failures=50, longest_s=900.0)


class Throttle:
    """Counts failures by name.

    Args:
        allowance: how many are free.
        clock: monotonic seconds.
    """

    def __init__(self, allowance: Allowance, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowance = allowance
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def begin(self, name: str) -> None:
        """Count a try as a failure until it is known better, so that many at once are no way around.

        Raises:
            RateLimited: there were too many; right or wrong, the password is not looked at.
        """
        now = self._clock()
        count, at = self._failures.get(name, (0, now))
        if now - at > self._allowance.longest_s:
            count = 0
        beyond = count - self._allowance.failures
        wait = at + min(2.0 ** min(beyond, 30), self._allowance.longest_s) - now if beyond >= 0 else 0.0
        if wait > 0:
            raise RateLimited(
                f"Too many tries to sign in have failed; try again in {_told(wait)}.",
                code="too_many_signins",
                retry_after_s=wait,
            )
        self._failures.pop(name, None)
        self._failures[name] = (count + 1, now)
        while len(self._failures) > MAX_REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, name: str, *, wholly: bool) -> None:
        """Take a try back that was no failure; `wholly` forgets the failures before it, too."""
        count, at = self._failures.pop(name, (0, 0.0))
        if count > 1 and not wholly:
            self._failures[name] = (count - 1, at)


def _told(seconds: float) -> str:
    return f"{math.ceil(seconds)} seconds" if seconds <= 90 else f"{math.ceil(seconds / 60)} minutes"
