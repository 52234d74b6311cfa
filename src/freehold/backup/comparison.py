"""What a restored backup does not know of the home that it takes the place of."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from freehold.backup.manifest import JournalEnd
from freehold.errors import FreeholdError, HomeError, JournalDamaged
from freehold.journal.reader import kind_and_seq, segment_numbers, segment_path
from freehold.store.home import Home
from freehold.store.snapshot import StoredKey, read_keys


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a backup differs from the home that it takes the place of.

    Args:
        same_journal: whether the backup is an earlier state of that home; None if its journal no longer says.
        lost_records: how many records of that home are not in the backup.
        revived: keys that were revoked since the backup was made, and are valid again in it.
        forgotten: keys that were made since, and are unknown to it.
    """

    same_journal: bool | None
    lost_records: int
    revived: tuple[StoredKey, ...]
    forgotten: tuple[StoredKey, ...]


def compare(old: Home, end: JournalEnd, keys: list[StoredKey]) -> Comparison:
    """Compare a home that nobody uses with a backup.

    Args:
        old: the home.
        end: where the backup's journal ends.
        keys: those that the backup knows.

    Raises:
        HomeError: the home cannot be read.
        JournalDamaged: its journal cannot be.
    """
    if not old.database.exists():
        raise HomeError("it has no database")
    there = {key.id: key for key in read_keys(old.database)}
    here = {key.id: key for key in keys}
    last, same = _journal(old.journal / end.writer, end)
    return Comparison(
        same_journal=same,
        lost_records=max(0, last - end.seq) if same is not False else last,
        revived=tuple(
            key for key in keys if not key.revoked_at and key.id in there and there[key.id].revoked_at is not None
        ),
        forgotten=tuple(key for key in there.values() if key.id not in here and key.revoked_at is None),
    )


def told(old: Home, end: JournalEnd, keys: list[StoredKey]) -> tuple[Comparison | None, str | None]:
    """The comparison, or why there is none: a home that is replaced may be damaged."""
    try:
        return compare(old, end, keys), None
    except FreeholdError as exc:
        return None, exc.message
    except OSError as exc:
        return None, exc.strerror or str(exc)


def _journal(folder: Path, end: JournalEnd) -> tuple[int, bool | None]:
    """The last whole record of a journal, and whether the backup's last one stands in it."""
    last, same = 0, None
    for number in segment_numbers(folder):
        path = segment_path(folder, number)
        with path.open("rb") as file:
            for raw in file:
                known = kind_and_seq(raw[:-1])
                if known is None or not raw.endswith(b"\n"):
                    if number == segment_numbers(folder)[-1]:
                        break  # what a killed server left of a line
                    raise JournalDamaged(f"its journal is damaged: {path.name} holds a line that is no record")
                last = known[1]
                if last == end.seq:
                    same = sha256(raw[:-1]).hexdigest() == end.head
    if last < end.seq:
        same = False
    return last, same
