"""Reading the records of a writer's folder, while it is written or not. All of it blocks: call it in a thread."""

from collections.abc import Iterator
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from typing import Final

import orjson

from freehold.errors import JournalDamaged
from freehold.journal.records import Plain

DIGITS: Final = 8
SUFFIX: Final = ".jsonl"
_BLOCK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place between two records, where reading goes on: the beginning, if nothing is given."""

    segment: int = 1
    offset: int = 0
    """In bytes from the beginning of the segment."""
    seq: int = 0
    """The last record before the place."""


@dataclass(frozen=True, slots=True)
class Line:
    """A record and where it stands."""

    seq: int
    segment: int
    offset: int
    """Of its first byte in the segment."""
    raw: bytes
    """The line without its newline."""
    at: str
    kind: str
    body: Plain

    @property
    def after(self) -> Cursor:
        """The place behind it."""
        return Cursor(self.segment, self.offset + len(self.raw) + 1, self.seq)


def segment_path(folder: Path, number: int) -> Path:
    """The file of a segment in a writer's folder."""
    return folder / f"{number:0{DIGITS}d}{SUFFIX}"


def segment_numbers(folder: Path) -> list[int]:
    """The numbers of the segments that are there, ascending."""
    return sorted(
        int(path.stem)
        for path in folder.glob(f"*{SUFFIX}")
        if len(path.stem) >= DIGITS and path.stem.isascii() and path.stem.isdigit()
    )


def read_lines(folder: Path, after: Cursor, until: Cursor, limit: int) -> list[Line]:
    """The records from one place to another, oldest first.

    If the segment of `after` was retired, reading begins with the oldest that is there.

    Args:
        folder: the writer's folder.
        after: where to begin.
        until: where to stop; no further than the writer's `durable`.
        limit: how many records at most.

    Raises:
        JournalDamaged: a line is no record, or a place is not at the beginning of one.
    """
    found: list[Line] = []
    for number in segment_numbers(folder):
        if not after.segment <= number <= until.segment or len(found) >= limit:
            continue
        begin = after.offset if number == after.segment else 0
        end = until.offset if number == until.segment else None
        found += _segment_lines(segment_path(folder, number), number, begin, end, limit - len(found))
    return found


def _segment_lines(path: Path, number: int, begin: int, end: int | None, limit: int) -> Iterator[Line]:
    """Records of one segment; of one that is retired meanwhile, none."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        if begin > path.stat().st_size:
            raise JournalDamaged(f"{path} has fewer than {begin} bytes: it is not the journal that was read before")
        file.seek(begin)
        offset = begin
        while limit and (end is None or offset < end):
            raw = file.readline()
            if not raw and end is None:
                return
            yield parse_line(path, number, offset, raw)
            offset += len(raw)
            limit -= 1


def read_on(folder: Path, after: Cursor) -> Iterator[Line]:
    """Every whole record from a place on, also while the journal is written: a last line without its end is left out.

    If the segment of `after` was retired, reading begins with the oldest that is there.

    Raises (while iterating):
        JournalDamaged: a line is no record.
    """
    numbers = [number for number in segment_numbers(folder) if number >= after.segment]
    for number in numbers:
        offset = after.offset if number == after.segment else 0
        path = segment_path(folder, number)
        with path.open("rb") as file:
            file.seek(offset)
            for raw in file:
                if not raw.endswith(b"\n") and number == numbers[-1]:
                    return
                yield parse_line(path, number, offset, raw)
                offset += len(raw)


def read_line(folder: Path, segment: int, offset: int) -> Line:
    """The record at a place.

    Raises:
        JournalDamaged: there is none.
        FileNotFoundError: there is no such segment; it may have been retired.
    """
    path = segment_path(folder, segment)
    with path.open("rb") as file:
        file.seek(offset)
        return parse_line(path, segment, offset, file.readline())


def read_last_line(folder: Path, number: int) -> Line:
    """The last record of a segment that is closed.

    Raises:
        JournalDamaged: the segment does not end with a record.
        FileNotFoundError: there is no such segment.
    """
    path = segment_path(folder, number)
    with path.open("rb") as file:
        begin = file.seek(0, SEEK_END)
        block = b""
        while begin and block.count(b"\n", 0, -1) == 0:
            size = min(begin, max(_BLOCK_BYTES, len(block)))
            begin = file.seek(begin - size)
            block = file.read(size) + block
    head, newline, last = block[:-1].rpartition(b"\n")
    return parse_line(path, number, begin + len(head + newline), last + block[-1:])


def parse_line(path: Path, segment: int, offset: int, raw: bytes) -> Line:
    r"""A record from its line with the newline.

    Raises:
        JournalDamaged: it is no whole record.
    """
    try:
        if not raw.endswith(b"\n"):
            raise ValueError("the line has no end")  # noqa: TRY301 - told below with its place
        record = orjson.loads(raw)
        return Line(record["seq"], segment, offset, raw[:-1], record["at"], record["kind"], record["body"])
    except (ValueError, KeyError, TypeError) as exc:
        raise JournalDamaged(f"{path}: what begins at byte {offset} is no record of a journal: {exc}") from exc
