"""The end of the journal: where the next records go, and in which form. Whoever has it may append; see `Writer`."""

import time
from collections.abc import Sequence
from typing import Final

from freehold.config import JournalSettings
from freehold.journal.reader import Cursor
from freehold.journal.records import Kind, utc
from freehold.journal.recovery import Place, Tail, header
from freehold.journal.segment import write_segment
from freehold.journal.waiting import Entry, Pairs, Position

CLOSED: Final = Entry(Kind.CLOSED, {}, b"{}", durable=True, waiter=None)


class Appending:
    """Appends records, and begins segments. To be used by one thread at a time.

    Args:
        place: whose journal it is.
        tail: where writing goes on.
        settings: when to begin a segment and when to sign.
    """

    def __init__(self, place: Place, tail: Tail, settings: JournalSettings) -> None:
        self._place = place
        self._settings = settings
        self.segment, self._chain, self._carried = tail.segment, tail.chain, tail.carried
        self.checkpoint_at = self._next_checkpoint()
        """When a checkpoint is due, by `time.monotonic`; None while there is nothing to cover."""

    @property
    def uncovered(self) -> int:
        """How many records no checkpoint covers yet."""
        return self._chain.uncovered

    @property
    def is_full(self) -> bool:
        """Whether the next record begins a segment."""
        return self.segment.size - self.segment.header_bytes >= self._settings.segment_bytes

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether records have waited long enough for a checkpoint."""
        return self.checkpoint_at is not None and time.monotonic() >= self.checkpoint_at

    def cursor(self) -> Cursor:
        """The place behind the last record."""
        return Cursor(self.segment.number, self.segment.size, self._chain.seq)

    def write(self, entries: Sequence[Entry], *, checkpoint: bool) -> tuple[Pairs, Pairs, bool]:
        """Append records in one write, with the checkpoints that are due; all of it or nothing.

        Returns who waits for no more than that, who for the sync, and whether there was a checkpoint.

        Raises:
            OSError: nothing was appended.
            DiskLost: nor could what was be taken back.
        """
        chain, segment, limit = self._chain.copy(), self.segment, self._settings.checkpoint_records
        at, offset, covered = utc(self._place.clock()), segment.size, False
        lines: list[bytes] = []
        written: Pairs = []
        durable: Pairs = []
        for entry in entries:
            line = chain.add(at, entry.kind, entry.encoded)
            (durable if entry.durable else written).append((entry.waiter, Position(chain.seq, segment.number, offset)))
            lines.append(line)
            offset += len(line) + 1
            if chain.uncovered >= limit:
                lines.append(chain.checkpoint(at))
                offset += len(lines[-1]) + 1
                covered = True
        if chain.uncovered and (checkpoint or self.is_checkpoint_due):
            lines.append(chain.checkpoint(at))
            covered = True
        if lines:
            lines.append(b"")
            segment.append(b"\n".join(lines))
        self._chain = chain
        if covered or self.checkpoint_at is None:
            self.checkpoint_at = self._next_checkpoint()
        for entry in entries:
            self._carried.apply(entry.kind, entry.body)
        return written, durable, covered

    def finish_segment(self) -> None:
        """Write a checkpoint, and see to it that all of the segment is on the disk.

        Raises:
            OSError, DiskLost: as `write`, and where it cannot be synced.
        """
        self.write([], checkpoint=True)
        self.segment.sync()

    def begin_segment(self) -> None:
        """Begin another segment, on the disk. Where it fails, it can be done again.

        Raises:
            OSError: it cannot be put there.
        """
        chain, number = self._chain.copy(), self.segment.number + 1
        line = chain.add(utc(self._place.clock()), Kind.SEGMENT, header(self._place, number, self._carried)) + b"\n"
        fresh = write_segment(self._place.disk, self._place.folder, number, len(line), line)
        self.segment.close()
        self.segment, self._chain = fresh, chain
        self.checkpoint_at = self._next_checkpoint()

    def _next_checkpoint(self) -> float | None:
        return time.monotonic() + self._settings.checkpoint_s if self._chain.uncovered else None
