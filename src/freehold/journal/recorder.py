"""What is needed of a journal by whoever records in it; the journal itself is `freehold.journal.journal`."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from freehold.journal.records import Kind
from freehold.journal.waiting import Position


class Recorder(Protocol):
    """Records; see `freehold.journal.journal.Journal`."""

    def check(self) -> None:
        """Return if something may be begun. Raises AuditUnavailable."""

    def submit(self, kind: Kind, body: Mapping[str, Any], *, durable: bool) -> asyncio.Future[Position]:
        """Record something; the future is done when it is written, or on the disk."""
