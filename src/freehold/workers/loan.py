"""A replica that a worker asks for or has, as the core remembers it."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass

from freehold.serving.acquisition import Acquisition
from freehold.serving.own_use import OwnCall
from freehold.serving.status import Lease


@dataclass(slots=True)
class Loan:
    """A replica that the worker asks for or has."""

    acquisition: Acquisition
    lease: Lease | None = None
    waiting: "asyncio.Task[None] | None" = None
    own: ExitStack | None = None
    call: OwnCall | None = None

    def end(self) -> None:
        """Take back what was lent, or is waited for."""
        if self.own is not None:
            self.own.close()
        if self.waiting is not None:
            self.waiting.cancel()
        self.acquisition.give_back()
