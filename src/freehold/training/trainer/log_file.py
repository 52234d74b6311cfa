"""The log of a training, as lines of JSON: for people's own plots, and for `freehold train watch`.

Each line has a `kind`: `run` (what is trained, once, first), `step`, `evaluation`, `event`, or `end`. `step` lines and
evaluations are there once for each step: when a training goes on from a checkpoint, what came after it is cut off,
since it comes again.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

NAME: Final = "log.jsonl"
CURVES: Final = frozenset({"step", "evaluation"})
"""The kinds of lines that are points of curves."""


class AppendedFile:
    """A file of records, one after another. A full disk keeps records waiting; it leaves no half ones.

    Args:
        path: of the file; made when the first record comes.
        size_bytes: what is there already and stays.
    """

    def __init__(self, path: Path, size_bytes: int = 0) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._waiting: list[bytes] = []

    def append(self, record: bytes) -> OSError | None:
        """Write a record after those that wait. Returns why that was not possible; it is tried again with the next."""
        self._waiting.append(record)
        try:
            with self._path.open("ab") as file:
                file.truncate(self._size_bytes)  # what a failed write left half
                file.write(b"".join(self._waiting))
                file.flush()
                self._size_bytes = os.fstat(file.fileno()).st_size
        except OSError as exc:
            return exc
        self._waiting = []
        return None

    def finish(self) -> OSError | None:
        """Write what still waits, if anything does; see `append`."""
        return self.append(b"") if self._waiting else None


class LogFile:
    """A log that is appended to.

    Args:
        path: of the file; made when the first line comes. A torn last line is cut off.

    Raises:
        OSError: the log that is there cannot be read, or not mended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cut(lambda _line: True)

    def append(self, line: Mapping[str, Any]) -> OSError | None:
        """Write a line; see `AppendedFile.append`."""
        return self._file.append(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    def lines(self) -> list[dict[str, Any]]:
        """All lines that are whole."""
        return read_lines(self._path)

    def rewind(self, step: int) -> None:
        """Cut off the points of curves that lie after a step.

        Raises:
            OSError: the shorter log cannot be written; the longer one is still there.
        """
        self._cut(lambda line: line.get("kind") not in CURVES or line.get("step", 0) <= step)

    def _cut(self, stays: Callable[[Mapping[str, Any]], bool]) -> None:
        kept = [line for line in read_lines(self._path) if stays(line)]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept).encode()
        self._file = AppendedFile(self._path, len(text))
        if not self._path.exists() or self._path.read_bytes() == text:
            return
        beside = self._path.with_name(self._path.name + ".new")
        beside.write_bytes(text)
        beside.replace(self._path)


class Tail:
    """Reads a log while it is written.

    Args:
        path: of the log, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._inode = 0

    def read(self) -> tuple[bool, list[dict[str, Any]]]:
        """The lines that are new; True before them if the log was cut, so that these are all that there are now.

        Raises:
            OSError: the log cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                cut = self._offset > 0 and (status.st_ino != self._inode or status.st_size < self._offset)
                self._offset = 0 if cut else self._offset
                self._inode = status.st_ino
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return False, []
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return cut, _parsed(whole)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a torn last one, or one that is no JSON, is passed over."""
    return _parsed(path.read_bytes()) if path.exists() else []


def _parsed(text: bytes) -> list[dict[str, Any]]:
    lines = []
    for each in text.split(b"\n")[:-1]:
        try:
            line = json.loads(each)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines
