"""Models are asked for runs of evaluations: as many at a time as there is room for, and again where that helps."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from freehold.errors import AuditUnavailable, Draining, QuotaExceeded, RateLimited, ServiceError, Unavailable
from freehold.gateway.asking import Asker, Requests
from freehold.gateway.batch_work import MAX_PAUSE_S, Stop
from freehold.types.receipt import Scalar

PATIENT: Final = 10
"""How often a model is asked that cannot be reached for the moment."""


class Stopped(Exception):
    """The run is to end: nothing is asked any more."""


class GaveUp(ServiceError):
    """A model could not be asked, however often it was tried, or the budget for it is spent."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What asks, and what bounds how many requests a model has at a time, over all runs."""

    requests: Requests
    slots: Callable[[str], Awaitable[asyncio.Semaphore]]


class PatientRequests:
    """See `freehold.gateway.asking.Requests`: for one run.

    Args:
        patience: asks.
        stop: says when the run is to end.
    """

    def __init__(self, patience: Patience, stop: Stop) -> None:
        self._patience = patience
        self._stop = stop

    async def ask(
        self, asker: Asker, operation: str, body: Mapping[str, Any], notes: Mapping[str, Scalar]
    ) -> Mapping[str, Any]:
        """See `Requests.ask`; also raises Stopped, and GaveUp where trying again does not help."""
        slots, tries = await self._patience.slots(str(body["model"])), 0
        while self._stop.goes_on:
            try:
                async with slots:  # not held while it waits to be tried again
                    if self._stop.goes_on:
                        return await self._patience.requests.ask(asker, operation, body, notes)
            except (AuditUnavailable, Draining):
                raise
            except (RateLimited, Unavailable) as exc:
                tries += 1
                if isinstance(exc, QuotaExceeded) or (isinstance(exc, Unavailable) and tries >= PATIENT):
                    raise GaveUp(exc.message, code=exc.code) from exc
                wait_s = min(MAX_PAUSE_S, max(exc.retry_after_s or 0.0, 2.0 ** min(tries - 1, 6)))
                await self._stop.wait(wait_s * random.uniform(0.5, 1.5))  # noqa: S311  # so that not all come at once
        raise Stopped
