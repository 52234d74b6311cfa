"""Which segments are old enough to go."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from freehold.journal.reader import read_last_line, read_line, segment_numbers, segment_path
from freehold.journal.records import Plain


@dataclass(frozen=True, slots=True)
class Expired:
    """A segment whose time is over."""

    path: Path
    body: Plain
    """The body of the `retired` record that says so."""


def expired_segments(folder: Path, *, before: str, projected_seq: int) -> list[Expired]:
    """The closed segments that may go, oldest first; never one that is younger than one that stays. Blocks.

    Args:
        folder: the writer's folder.
        before: a time as `utc` gives it; a segment goes if its newest record is older.
        projected_seq: the last record that is in the usage database; what is not stays.

    Raises:
        JournalDamaged: a segment is no journal.
        OSError: one cannot be read.
    """
    found: list[Expired] = []
    for number in segment_numbers(folder)[:-1]:
        last = read_last_line(folder, number)
        if last.at >= before or last.seq > projected_seq:
            break
        body: Plain = {
            "number": number,
            "first": read_line(folder, number, 0).seq,
            "last": last.seq,
            "head": sha256(last.raw).hexdigest(),
            "reason": "retention",
        }
        found.append(Expired(segment_path(folder, number), body))
    return found
