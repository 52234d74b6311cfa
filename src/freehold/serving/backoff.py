"""How long to wait before an engine that failed is started again."""

import random

from freehold.cluster.arbiter.decisions import Refusal
from freehold.config import SupervisorSettings
from freehold.errors import (
    ConfigError,
    DigestMismatch,
    FreeholdError,
    InvalidRequest,
    UnknownModel,
    UnsafePath,
    UnsupportedModelFormat,
)

PERMANENT = (ConfigError, DigestMismatch, UnknownModel, UnsafePath, UnsupportedModelFormat)
"""Faults that time does not mend."""
_REFUSALS = frozenset(Refusal)
_ATTEMPTS = 3
"""So many starts in a row that never became ready count as a fault that time does not mend."""

_FAILURES = 6
"""So many failures without ever being ready for the longest delay are those of an engine that does not last."""


def refused(error: FreeholdError) -> bool:
    """Whether the cluster has no place for it, and will have none until it changes."""
    return isinstance(error, InvalidRequest) and error.code in _REFUSALS


def permanent(error: FreeholdError) -> bool:
    """Whether time does not mend it."""
    return isinstance(error, PERMANENT) or refused(error)


class Backoff:
    """Exponential delays with jitter, for one replica.

    Args:
        limits: the first and the longest delay. A replica that was ready for the longest delay begins anew.
    """

    def __init__(self, limits: SupervisorSettings) -> None:
        self._limits = limits
        self._failures = 0
        self._failed_starts = 0

    @property
    def hopeless(self) -> bool:
        """Whether the fault seems to be one that time does not mend."""
        return self._failed_starts >= _ATTEMPTS

    @property
    def given_up(self) -> bool:
        """Whether another engine had better serve, where there is one: hopeless, or failing again and again."""
        return self.hopeless or self._failures >= _FAILURES

    def after_failure(self, *, ready_s: float | None, permanent: bool) -> float:
        """The next delay in seconds.

        Args:
            ready_s: how long the replica was ready before it failed; None if it never was.
            permanent: whether the fault is known to be one that time does not mend.
        """
        if ready_s is not None and ready_s >= self._limits.backoff_max_s:
            self._failures = 0
        self._failures += 1
        if ready_s is not None:
            self._failed_starts = 0
        else:
            self._failed_starts = _ATTEMPTS if permanent else self._failed_starts + 1
        longest = self._limits.backoff_max_s
        if self.hopeless:
            return longest
        exponent = min(self._failures - 1, 32)
        delay: float = min(longest, self._limits.backoff_initial_s * 2**exponent)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load; guards no secret
