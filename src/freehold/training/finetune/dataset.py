"""Checks files of examples for fine-tuning, line by line and in bounded memory, and reads them.

    report = await check(pieces, "supervised")
    if report.problems:
        print(report.explain())     # line 3, messages[1].content: must be a text

The file comes in pieces as they happen to be cut. A line longer than `MAX_LINE_BYTES` is never held: it is a problem as
soon as it is longer, and what is left of it is skipped. Needs no torch: the server checks what is uploaded.
"""

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from freehold.training.finetune.example_json import MAX_LINE_BYTES, Malformed, decode_line
from freehold.training.finetune.example_rules import Complaint, complaints
from freehold.training.finetune.protocol import Method

MIN_EXAMPLES: Final = 10
"""As OpenAI demands."""
MAX_PROBLEMS: Final = 50
"""How many problems are told; how many there are is counted."""
BYTES_A_TOKEN: Final = 4
"""By which tokens are estimated where no tokenizer is at hand; about right for English."""
_PIECE_BYTES: Final = 256 * 1024
_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file.

    Args:
        line: counted from 1; 0 where it is the file as a whole.
        field: the path of the field, such as `messages[1].content`; empty where it is the line as a whole.
        message: what is wrong and what to do.
    """

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.field) if part)
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What a file holds.

    Args:
        examples: lines that are examples, good or bad.
        bytes: length of the file.
        text_bytes: of what messages say, as UTF-8.
        problems: the first `MAX_PROBLEMS`.
        problem_count: all of them.
    """

    examples: int
    bytes: int
    text_bytes: int
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0

    @property
    def estimated_tokens(self) -> int:
        """About how many tokens one epoch has; the training process counts them exactly."""
        return self.text_bytes // BYTES_A_TOKEN

    def explain(self, most: int = 10) -> str:
        """The problems as one text, at most so many of them."""
        told = [str(problem) for problem in self.problems[:most]]
        if (left := self.problem_count - len(told)) > 0:
            told.append(f"and {left} more")
        return "; ".join(told)


@dataclass(slots=True)
class Checker:
    """Checks a file as it comes in.

    Args:
        method: which form its examples have.
        min_examples: how many there must be.
    """

    method: Method
    min_examples: int = MIN_EXAMPLES
    _line: int = 0
    _held: bytearray = field(default_factory=bytearray)
    _skipping: bool = False
    _bytes: int = 0
    _examples: int = 0
    _text_bytes: int = 0
    _problems: list[Problem] = field(default_factory=list)
    _problem_count: int = 0
    _form: str | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the file."""
        self._bytes += len(piece)
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._take(memoryview(piece)[start:end])
            self._end_line()
            start = end + 1
        self._take(memoryview(piece)[start:])

    def finish(self) -> DatasetReport:
        """What was found, once the file has come to its end."""
        if self._held or self._skipping:
            self._end_line()
        if self._examples < self.min_examples:
            self._add(0, Complaint("", f"a file needs at least {self.min_examples} examples; it has {self._examples}"))
        return DatasetReport(self._examples, self._bytes, self._text_bytes, tuple(self._problems), self._problem_count)

    def _take(self, part: memoryview) -> None:
        if self._skipping:
            return
        if len(self._held) + len(part) > MAX_LINE_BYTES:
            self._skipping = True
            self._held.clear()
            return
        self._held += part

    def _end_line(self) -> None:
        self._line += 1
        if self._skipping:
            self._skipping = False
            self._examples += 1
            self._add(self._line, Complaint("", f"is longer than {MAX_LINE_BYTES:,} bytes; make the example shorter"))
            return
        raw = bytes(self._held)
        self._held.clear()
        if raw.strip():
            self._examples += 1
            self._check(raw)

    def _check(self, raw: bytes) -> None:
        if self._line == 1 and raw.startswith(_MARK):
            self._add(1, Complaint("", "begins with a byte order mark; save the file as UTF-8 without one"))
            return
        try:
            example = decode_line(raw)
        except Malformed as exc:
            self._add(self._line, Complaint(exc.field, exc.message))
            return
        form = "completion" if self.method == "supervised" and "messages" not in example else "messages"
        if form != (self._form or form):
            self._add(self._line, Complaint(form, "a file has either messages or prompts and completions, not both"))
            return
        found = complaints(example, self.method)
        if not found.complaints:
            self._form = form
        self._text_bytes += found.text_bytes
        for complaint in found.complaints:
            self._add(self._line, complaint)

    def _add(self, line: int, complaint: Complaint) -> None:
        self._problem_count += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(line, complaint.field, complaint.message))


async def check(
    pieces: AsyncIterable[bytes] | Iterable[bytes], method: Method, *, min_examples: int = MIN_EXAMPLES
) -> DatasetReport:
    """Check a file that comes in pieces, in whatever way it is cut; line ends belong to the pieces."""
    checker = Checker(method, min_examples)
    if isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            checker.feed(piece)
    else:
        for piece in pieces:
            checker.feed(piece)
    return checker.finish()


def check_file(path: Path, method: Method, *, min_examples: int = MIN_EXAMPLES) -> DatasetReport:
    """Check a file on disk.

    Raises:
        OSError: it cannot be read.
    """
    checker = Checker(method, min_examples)
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            checker.feed(piece)
    return checker.finish()


def read_examples(path: Path) -> Iterator[Mapping[str, Any]]:
    """The examples of a file that has been checked.

    Raises:
        OSError: it cannot be read.
        Malformed: it has been changed since.
    """
    with path.open("rb") as file:
        for raw in file:
            if raw.strip():
                yield decode_line(raw)
