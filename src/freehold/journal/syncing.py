"""A sync that the kernel does: begun, watched, and heard of once.

The loop hears of its end by the event's descriptor. Should that ever not be told, nobody who waits for the disk would
go on, and nothing would say why; so while a sync is under way the loop also looks by itself from time to time.
"""

import asyncio
import errno
import time
from collections.abc import Callable
from typing import Final

import structlog

from freehold.journal.disk import KernelSync
from freehold.journal.segment import Segment

log = structlog.get_logger("freehold.journal")

LOOK_S: Final = 1.0
"""How often the loop looks by itself while a sync is under way, in seconds; also how long one takes that is slow."""


class Syncing:
    """The kernel's syncs of one journal, one at a time. Built in the event loop that it answers to.

    Args:
        kernel: syncs.
        ended: called in the loop at the end of each sync, with 0 or the number of the error.
        look_s: how often to look without being told, in seconds.
    """

    def __init__(self, kernel: KernelSync, ended: Callable[[int], None], look_s: float = LOOK_S) -> None:
        self._kernel = kernel
        self._ended = ended
        self._look_s = look_s
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(kernel.event, self._hear)

    @property
    def since(self) -> float | None:
        """When the sync that is under way began, by `time.monotonic`; None if there is none."""
        return self._since

    def begin(self, segment: Segment) -> None:
        """Begin a sync; none is under way.

        Raises:
            OSError: it did not begin.
        """
        segment.begin_sync(self._kernel)
        self._since = time.monotonic()
        if self._timer is None:  # one goes on over many syncs
            self._timer = self._loop.call_later(self._look_s, self._look)

    def close(self) -> None:
        """Give everything back; waits for a sync that runs, of whose end nobody hears."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._kernel.event)
        self._kernel.close()

    def _hear(self, *, told: bool = True) -> None:
        """Take the end back, if it has come: a loop may tell of an event that another look has dealt with."""
        since = self._since
        try:
            problem = self._kernel.end()
        except OSError as exc:
            problem = exc.errno or errno.EIO  # nobody knows how it ended, which is as bad as a failure
        if problem is None or since is None:
            return
        self._since = None
        took_s = time.monotonic() - since
        if took_s >= self._look_s:
            log.warning("journal.sync_slow", seconds=round(took_s, 3), told=told)
        self._ended(problem)

    def _look(self) -> None:
        self._timer = None
        since = self._since
        if since is not None and time.monotonic() - since >= self._look_s:
            self._hear(told=False)
        if self._since is not None:
            self._timer = self._loop.call_later(self._look_s, self._look)
