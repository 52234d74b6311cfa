"""Rows of a table as examples: what `freehold tune data` writes, read from CSV.

Rows that ask the same go to the same side of the split, so that nothing which is held out was trained on.
"""

import csv
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from freehold.errors import InvalidRequest
from freehold.gateway.templates import TemplateProblem, check_template, render

Row: TypeAlias = Mapping[str, str]
MAX_CELL: Final = 1024 * 1024
"""Characters of one cell."""
TRAINING: Final = "training.jsonl"
VALIDATION: Final = "validation.jsonl"
EVALUATION: Final = "evaluation.jsonl"


@dataclass(frozen=True, slots=True)
class Columns:
    """How a row becomes an example: texts with templates such as `{{ item.question }}`.

    Args:
        ask: what the user says.
        answer: what the assistant is to answer; with `worse`, the better of two answers.
        worse: the answer that is not preferred; None for examples of the supervised method.
        system: what stands before all.
    """

    ask: str
    answer: str
    worse: str | None = None
    system: str | None = None

    def check(self) -> None:
        """Return if they are templates.

        Raises:
            InvalidRequest: names the option and what is wrong with it.
        """
        for option, text in (("--ask", self.ask), ("--answer", self.answer), ("--worse", self.worse)):
            check_template(text or "", option)
        check_template(self.system or "", "--system")

    def messages(self, row: Row) -> list[dict[str, str]]:
        """What is said before the answer."""
        said = [] if self.system is None else [{"role": "system", "content": render(self.system, row, {})}]
        return [*said, {"role": "user", "content": render(self.ask, row, {})}]

    def example(self, row: Row) -> dict[str, Any]:
        """One example, as fine-tuning takes it."""
        answer = {"role": "assistant", "content": render(self.answer, row, {})}
        if self.worse is None:
            return {"messages": [*self.messages(row), answer]}
        other = {"role": "assistant", "content": render(self.worse, row, {})}
        return {
            "input": {"messages": self.messages(row)},
            "preferred_output": [answer],
            "non_preferred_output": [other],
        }

    def item(self, row: Row) -> dict[str, Any]:
        """One row, as an evaluation takes it: its columns, and what is asked and expected."""
        return {
            "item": {**row, "messages": self.messages(row), "expected": render(self.answer, row, {})},
        }


def read_rows(path: Path, delimiter: str) -> list[Row]:
    """The rows of a CSV file with a header, in UTF-8.

    Raises:
        InvalidRequest: names the line and what is wrong with it.
    """
    csv.field_size_limit(MAX_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_rows(csv.reader(file, delimiter=delimiter, strict=True), path.name))
    except UnicodeDecodeError as exc:
        raise InvalidRequest(f"{path.name} is not UTF-8 (at byte {exc.start}); convert it first") from exc
    except OSError as exc:
        raise InvalidRequest(f"{path} cannot be read: {exc.strerror}") from exc


def _rows(reader: Any, name: str) -> Iterator[Row]:
    try:
        header = [each.strip() for each in next(reader, [])]
        if not header or "" in header:
            raise InvalidRequest(f"the first line of {name} must name every column")
        if len(set(header)) < len(header):
            raise InvalidRequest(f"the first line of {name} names a column twice: {', '.join(header)}")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise InvalidRequest(
                    f"line {reader.line_num} of {name} has {len(cells)} cells, and there are {len(header)} columns"
                )
            yield dict(zip(header, cells, strict=True))
    except csv.Error as exc:
        raise InvalidRequest(f"line {reader.line_num} of {name} is not CSV: {exc}") from exc


def split(rows: list[Row], columns: Columns, held_out: float, seed: int) -> tuple[list[Row], list[Row]]:
    """What is trained on, in an order drawn by the seed, and about that share of the rows that is not.

    Raises:
        InvalidRequest: nothing would be left on one side, or a template names a column that is not there.
    """
    try:
        columns.example(rows[0])
    except TemplateProblem as exc:
        raise InvalidRequest(f"{exc.message} The columns are: {', '.join(rows[0])}.") from exc
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(render(columns.ask, row, {}), []).append(row)
    asked = list(groups)
    random.Random(seed).shuffle(asked)  # noqa: S311  # a split that can be repeated
    count = round(held_out * len(asked))
    if count == len(asked) or (held_out and not count):
        raise InvalidRequest(f"{len(asked)} different questions cannot be split so; change --hold-out")
    held = [row for question in asked[:count] for row in groups[question]]
    return [row for question in asked[count:] for row in groups[question]], held


def write_data(out: Path, columns: Columns, training: list[Row], held: list[Row]) -> list[tuple[Path, int]]:
    """Write the files; each with how many lines it has. None of them is left half written.

    Raises:
        InvalidRequest: one cannot be written.
    """
    files: dict[str, list[dict[str, Any]]] = {TRAINING: [columns.example(row) for row in training]}
    if held:
        files[VALIDATION] = [columns.example(row) for row in held]
        files[EVALUATION] = [columns.item(row) for row in held]
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, lines in files.items():
            target, part = out / name, out / f"{name}.part"
            part.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
            part.replace(target)
            written.append((target, len(lines)))
    except OSError as exc:
        raise InvalidRequest(f"{exc.filename or out} cannot be written: {exc.strerror}") from exc
    return written
