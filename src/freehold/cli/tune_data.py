"""Rows of a table as examples: what `freehold tune data` writes, read from CSV.

Rows that ask the same go to the same side of the split, so that nothing which is held out was trained on.
"""

import csv
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from freehold.errors import InvalidRequest
from freehold.gateway.templates import TemplateProblem, check_template, render
from freehold.training.language.conversation_files import lay_files

Row: TypeAlias = Mapping[str, str]
MAX_CELL: Final = 1024 * 1024
"""Characters of one cell."""
TRAINING: Final = "training.jsonl"
VALIDATION: Final = "validation.jsonl"
EVALUATION: Final = "evaluation.jsonl"
CRITERIA: Final = "evaluation.toml"


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

    def evaluation(self, name: str, rows: Sequence[Row]) -> str:
        """What 'freehold eval run' reads: the rows that were held out are asked, and right is the answer itself.

        Answers are cut where they are longer than any right one can be: a token has a character or more.
        """
        longest = max(len(render(self.answer, row, {})) for row in rows)
        said = [] if self.system is None else [("system", self.system)]
        asked = "".join(
            f"\n[[input_messages]]\nrole = {_quoted(role)}\ncontent = {_quoted(text)}\n"
            for role, text in [*said, ("user", self.ask)]
        )
        return (
            f"name = {_quoted(name)}\nitems = {_quoted(EVALUATION)}\n{asked}"
            f"\n[sampling_params]\ntemperature = 0.0\nmax_completion_tokens = {max(16, longest)}\n"
            '\n[[testing_criteria]]\ntype = "string_check"\nname = "right"\noperation = "eq"\n'
            f'input = "{{{{ sample.output_text }}}}"\nreference = {_quoted(self.answer)}\n'
        )


def _quoted(text: str) -> str:
    """A text as TOML writes it, whose strings are JSON's but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


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


def write_data(out: Path, name: str, columns: Columns, training: list[Row], held: list[Row]) -> list[tuple[Path, int]]:
    """Write the files; each with how many lines it has. None of them is left half written.

    Args:
        out: the folder for them.
        name: of the evaluation.
        columns: how a row becomes an example.
        training: the rows to train on.
        held: those to evaluate with; the evaluation is of the supervised method alone.

    Raises:
        ConfigError: one cannot be written.
    """
    files = {TRAINING: _lines(columns.example(row) for row in training)}
    if held:
        files[VALIDATION] = _lines(columns.example(row) for row in held)
    if held and columns.worse is None:
        files[EVALUATION] = _lines(held)
        files[CRITERIA] = columns.evaluation(name, held).encode()
    return lay_files(out, files)


def _lines(objects: Iterable[Mapping[str, Any]]) -> bytes:
    """Objects as JSONL."""
    return b"".join(orjson.dumps(each) + b"\n" for each in objects)
