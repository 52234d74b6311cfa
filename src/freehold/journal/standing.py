"""How a journal stands: how much there is of it, and until where it is signed. Reads files; call it in a thread."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from freehold.errors import JournalDamaged
from freehold.journal.reader import SUFFIX, parse_line
from freehold.journal.records import Kind

_PIECE_BYTES: Final = 1024 * 1024
_MARK: Final = b'"kind":"checkpoint"'


@dataclass(frozen=True, slots=True)
class Signed:
    """The newest checkpoint.

    Args:
        seq: the last record that it covers.
        at: when it was written, RFC 3339.
        head: SHA-256 of that record, in hex.
    """

    seq: int
    at: str
    head: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What lies in a writer's folder.

    Args:
        segments: how many files.
        size_bytes: all of them together.
        checkpoint: the newest one; None where there is none yet.
    """

    segments: int
    size_bytes: int
    checkpoint: Signed | None


def standing(folder: Path) -> Standing:
    """How the journal in a writer's folder stands.

    Raises:
        OSError: it cannot be read.
    """
    paths = sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file())
    sizes: list[int] = []
    found: Signed | None = None
    for path in reversed(paths):
        with suppress(FileNotFoundError):  # retired meanwhile
            sizes.append(path.stat().st_size)
            found = found or _newest(path)
    return Standing(len(sizes), sum(sizes), found)


def _newest(path: Path) -> Signed | None:
    """The newest checkpoint of a segment, looked for from its end, piece by piece."""
    with path.open("rb") as file:
        end, behind, torn = file.seek(0, 2), b"", True
        while end > 0:
            begin = max(0, end - _PIECE_BYTES)
            file.seek(begin)
            lines = (file.read(end - begin) + behind).split(b"\n")
            if torn:
                lines.pop()  # what stands behind the last line end is no whole record yet
            torn = not lines
            behind = lines.pop(0) if lines and begin > 0 else b""
            for line in reversed(lines):
                if _MARK in line and (signed := _signed(path, line)) is not None:
                    return signed
            end = begin
    return None


def _signed(path: Path, line: bytes) -> Signed | None:
    try:
        record = parse_line(path, 0, 0, line + b"\n")
        if record.kind != Kind.CHECKPOINT:
            return None  # the mark stands in something else's text
        return Signed(record.body["last"], record.body["at"], record.body["head"])
    except (JournalDamaged, KeyError, TypeError):
        return None  # a verification tells what is wrong with it
