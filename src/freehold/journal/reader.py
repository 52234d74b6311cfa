"""Reading the records of a writer's folder, while it is written or not. All of it blocks: call it in a thread."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from freehold.errors import JournalDamaged
from freehold.journal.records import Plain

DIGITS: Final = 8
SUFFIX: Final = ".jsonl"
_BLOCK_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 128 * 1024
_TAIL: Final = re.compile(rb'"kind":"([a-z]+)","prev":"[0-9a-f]{64}","seq":([0-9]+)}\Z')
_TAIL_BYTES: Final = 160
"""No shorter than what the expression matches."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place between two records, where reading goes on: the beginning, if nothing is given."""

    segment: int = 1
    offset: int = 0
    """In bytes from the beginning of the segment."""
    seq: int = 0
    """The last record before the place."""


class Line(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class Block:
    """Records that follow each other in one segment, as bytes."""

    segment: int
    offset: int
    """Of the first one's first byte in the segment."""
    lines: list[bytes]
    """Without their newlines; never empty."""


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
    """The records from one place to another, oldest first, `limit` at most; the rest as `read_block`.

    Raises:
        JournalDamaged: a line is no record, or a place is not at the beginning of one.
    """
    found: list[Line] = []
    while len(found) < limit and (block := read_block(folder, after, until)) is not None:
        path, offset = segment_path(folder, block.segment), block.offset
        for raw in block.lines[: limit - len(found)]:
            found.append(parse_line(path, block.segment, offset, raw + b"\n"))
            offset += len(raw) + 1
        after = found[-1].after
    return found


def read_block(folder: Path, after: Cursor, until: Cursor) -> Block | None:
    """The next records between two places; None if there are none.

    If the segment of `after` was retired, reading begins with the oldest that is there.

    Args:
        folder: the writer's folder.
        after: where to begin.
        until: where to stop; no further than the writer's `durable`.

    Raises:
        JournalDamaged: a place is not at the beginning of a record.
    """
    for number in segment_numbers(folder):
        if not after.segment <= number <= until.segment:
            continue
        begin = after.offset if number == after.segment else 0
        data = _bytes_of(segment_path(folder, number), begin, until.offset if number == until.segment else sys.maxsize)
        if data:
            return Block(number, begin, data[:-1].split(b"\n"))
    return None


def _bytes_of(path: Path, begin: int, end: int) -> bytes:
    """Whole lines of one segment, not many more than a block; of one that is retired meanwhile, none."""
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        return b""
    with file:
        size = path.stat().st_size
        if begin > size:
            raise JournalDamaged(f"{path} has fewer than {begin} bytes: it is not the journal that was read before")
        size = min(size, end)
        file.seek(begin)
        data = file.read(min(_READ_BYTES, max(0, size - begin)))
        while data and (cut := data.rfind(b"\n") + 1) == 0:
            more = file.read(min(_READ_BYTES, size - begin - len(data)))
            if not more:
                raise JournalDamaged(f"{path}: what begins at byte {begin} is no record: the line has no end")
            data += more
        return data[:cut] if data else b""


def kind_and_seq(line: bytes) -> tuple[str, int] | None:
    """The kind and the number of a record, from the end of its line; None if that is not in canonical form."""
    found = _TAIL.search(line, max(0, len(line) - _TAIL_BYTES))
    return None if found is None else (found[1].decode(), int(found[2]))


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


def read_last_line(folder: Path, number: int, end: int | None = None) -> Line:
    """The last record of a segment that is closed, or the last one before a place in it.

    Args:
        folder: the writer's folder.
        number: of the segment.
        end: the place, behind a record; without it, the segment's end.

    Raises:
        JournalDamaged: the segment does not end with a record.
        FileNotFoundError: there is no such segment.
    """
    path = segment_path(folder, number)
    with path.open("rb") as file:
        begin = file.seek(0, SEEK_END) if end is None else end
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
