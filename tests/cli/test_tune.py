"""`freehold tune`: rows of a table as examples, and what is wrong with them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.cli.eval_file import read_eval
from freehold.cli.tune_data import Columns, read_rows, split, write_data
from freehold.errors import InvalidRequest
from freehold.training.finetune.dataset import check_file
from tests.cli.program import Program, Server

COLUMNS = Columns(ask="{{ item.text }}", answer="{{ item.label }}", system="Answer in one word.")


def table(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def lines(path: Path) -> list[Any]:
    return [json.loads(each) for each in path.read_bytes().splitlines()]


def held_rows(folder: Path) -> list[dict[str, str]]:
    """The rows whose examples were held out, in their order."""
    said = [each["messages"] for each in lines(folder / "validation.jsonl")]
    return [{"text": messages[1]["content"], "label": messages[2]["content"]} for messages in said]


def tickets(path: Path, count: int = 20) -> Path:
    return table(path, [["text", "label"], *([f"ticket {i // 2}", f"kind {i % 3}"] for i in range(count))])


@settings(max_examples=50)
@given(
    asked=st.lists(st.integers(min_value=0, max_value=8), min_size=4, max_size=40).filter(lambda a: len(set(a)) > 3),
    held_out=st.sampled_from([0.2, 0.3, 0.5]),
    seed=st.integers(min_value=0, max_value=5),
)
def test_a_split_keeps_every_row_and_each_question_on_one_side(asked: list[int], held_out: float, seed: int) -> None:
    """Whatever is asked twice stands on one side only, no row is lost, and the same seed draws the same."""
    rows = [{"text": f"q{each}", "label": str(index)} for index, each in enumerate(asked)]
    training, held = split(list(rows), COLUMNS, held_out, seed)
    assert sorted(row["label"] for row in [*training, *held]) == sorted(row["label"] for row in rows)
    assert not {row["text"] for row in training} & {row["text"] for row in held}
    assert training
    assert held
    assert split(list(rows), COLUMNS, held_out, seed) == (training, held)


def test_what_is_written_is_what_fine_tuning_takes(tmp_path: Path) -> None:
    """The files of both methods pass the check of a job, and braces in a cell mean nothing."""
    rows = read_rows(
        table(tmp_path / "t.csv", [["text", "label"], *([f"{{{{ item.label }}}} {i}", "x"] for i in range(24))]), ","
    )
    for columns, method in ((COLUMNS, "supervised"), (Columns("{{ item.text }}", "{{ item.label }}", "no"), "dpo")):
        training, held = split(list(rows), columns, 0.5, 1)
        written = write_data(tmp_path / method, "braces", columns, training, held)
        assert [(path.name, count) for path, count in written[:2]] == [("training.jsonl", 12), ("validation.jsonl", 12)]
        for path, _ in written[:2]:
            assert not check_file(path, method).problems  # type: ignore[arg-type]  # a method's name
    said = lines(tmp_path / "supervised" / "training.jsonl")[0]["messages"]
    assert said[1]["content"].startswith("{{ item.label }} ")
    found = read_eval(tmp_path / "supervised" / "evaluation.toml")
    assert found.request["name"] == "braces"
    assert [each["item"] for each in found.source["content"]] == held_rows(tmp_path / "supervised")
    asked = found.asked["input_messages"]["template"]
    assert found.asked["sampling_params"] == {"temperature": 0.0, "max_completion_tokens": 16}
    assert asked == [{"role": "system", "content": COLUMNS.system}, {"role": "user", "content": COLUMNS.ask}]
    assert not (tmp_path / "dpo" / "evaluation.toml").exists()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"text,label\nonly one\n", "line 2 of t.csv has 1 cells"),
        (b"text,text\n1,2\n", "names a column twice"),
        (b"text,\n1,2\n", "must name every column"),
        (b"", "must name every column"),
        (b'text,label\n1,"2\n', "line 2 of t.csv is not CSV"),
        (b"text,label\n1,\xff\n", "is not UTF-8"),
        (b"text,label\n" + b"x" * (1024 * 1024 + 1) + b",y\n", "is not CSV"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, data: bytes, told: str) -> None:
    """What is wrong with a table is told with its line."""
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(InvalidRequest, match=told):
        read_rows(path, ",")


def test_a_byte_order_mark_and_other_delimiters_are_read(tmp_path: Path) -> None:
    """A file that a spreadsheet wrote is read: a mark at its beginning, semicolons, line ends within cells."""
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbftext;label\r\n"a\r\nb";c\r\n')
    assert read_rows(path, ";") == [{"text": "a\r\nb", "label": "c"}]


@pytest.mark.slow
def test_a_table_becomes_examples(program: Program, tmp_path: Path) -> None:
    """The command writes the files and says what is in them; a check names what is wrong, and where."""
    path = tickets(tmp_path / "tickets.csv")
    arguments = ("tune", "data", str(path), "--answer", "{{ item.label }}", "--out", str(tmp_path))
    found = program.json(*arguments, "--ask", "{{ item.text }}")["files"]
    assert [(Path(each["path"]).name, each["lines"]) for each in found] == [
        ("training.jsonl", 16),
        ("validation.jsonl", 4),
        ("evaluation.jsonl", 4),
        ("evaluation.toml", 17),
    ]
    assert program.json("tune", "check", found[0]["path"])["problems"] == []
    refused = program.refused(2, *arguments, "--ask", "{{ item.nothing }}")
    assert "item.nothing" in refused
    assert "text, label" in refused
    assert "--ask" in program.refused(2, *arguments, "--ask", "{{ item.text() }}")
    (tmp_path / "training.jsonl").write_text('{"messages": [{"role": "user"}]}\n')
    problems = json.loads(program.run("tune", "check", found[0]["path"], "--json").stdout)["problems"]
    assert {each["line"] for each in problems} == {0, 1}


@pytest.mark.slow
def test_a_base_that_cannot_be_trained_is_refused(echo_server: tuple[Program, Server], tmp_path: Path) -> None:
    """Beginning a job says why a deployment's model cannot be trained."""
    program, _ = echo_server
    path = tmp_path / "training.jsonl"
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for _ in range(10)))
    assert "echo" in program.refused(2, "tune", "start", "--model", "echo", "--training", str(path))
    assert "cannot be read" in program.refused(2, "tune", "start", "--training", str(tmp_path / "absent.jsonl"))
