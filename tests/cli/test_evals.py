"""`freehold eval`: evaluations of files on a running server."""

import json
from pathlib import Path

import pytest

from tests.cli.program import Program, Server

pytestmark = pytest.mark.slow

EVAL = """
name = "capitals"
items = "capitals.jsonl"

[[input_messages]]
role = "user"
content = "{{ item.question }}"

[sampling_params]
temperature = 0.0

[[testing_criteria]]
type = "string_check"
name = "right"
input = "{{ sample.output_text }}"
reference = "{{ item.answer }}"
operation = "ilike"
"""


def written(folder: Path, text: str = EVAL) -> str:
    """An evaluation in a folder, of which the echo engine gets two items of three right; its path."""
    lines = [{"question": f"Is it {city}?", "answer": city} for city in ("Rome", "Paris")]
    lines.append({"question": "Who?", "answer": "Nobody"})
    (folder / "capitals.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (folder / "capitals.toml").write_text(text)
    return str(folder / "capitals.toml")


def test_a_file_is_run_and_compared(echo_server: tuple[Program, Server], tmp_path: Path) -> None:
    """Means with intervals are printed for each model, and the difference of two; a file makes one evaluation."""
    program, path = echo_server[0], written(tmp_path)
    shown = program.fine("eval", "run", path, "--model", "echo", "--model", "chat")
    assert "0.667" in shown
    assert "0.208 to 0.939" in shown
    assert "chat less echo" in shown
    told = program.json("eval", "run", path, "--model", "echo")["data"]
    assert [(each["status"], each["overall"]["mean"]) for each in told] == [("completed", pytest.approx(2 / 3))]
    (made,) = [each for each in program.json("eval", "list")["data"] if each["name"] == "capitals"]
    runs = program.json("eval", "show", made["id"])["data"]
    assert len(runs) == 3
    again = program.json("eval", "run", made["id"], "--model", "chat")["data"][0]
    assert again["eval_id"] == made["id"]
    assert "capitals" in program.fine("eval", "list")
    assert "right" in program.fine("eval", "show", made["id"])


def test_a_mean_that_is_too_low_fails(echo_server: tuple[Program, Server], tmp_path: Path) -> None:
    """`--fail-under` makes the exit status one that a pipeline stops at."""
    program, path = echo_server[0], written(tmp_path)
    program.fine("eval", "run", path, "--model", "echo", "--fail-under", "0.6")
    program.refused(1, "eval", "run", path, "--model", "echo", "--fail-under", "0.7")


def test_what_is_wrong_with_a_file_is_said(echo_server: tuple[Program, Server], tmp_path: Path) -> None:
    """Keys, items, deployments and ids that are not there are named."""
    program, _ = echo_server
    assert "'grade'" in program.refused(2, "eval", "run", written(tmp_path, f"{EVAL}\n[grade]\n"), "--model", "echo")
    assert "missing" in program.refused(2, "eval", "run", written(tmp_path, "name = 'x'"), "--model", "echo")
    path = written(tmp_path)
    assert "nobody" in program.refused(2, "eval", "run", path, "--model", "nobody")
    (tmp_path / "capitals.jsonl").write_text('{"question": "a"}\n[]\n')
    assert "line 2" in program.refused(2, "eval", "run", path, "--model", "echo")
    assert "eval_0" in program.refused(2, "eval", "run", "eval_0", "--model", "echo")
