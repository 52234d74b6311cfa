"""`freehold eval harness`: tasks of lm-eval on a running server, where lm-eval is installed."""

import json
from pathlib import Path

import pytest

from tests.cli.program import Program, Server

pytestmark = pytest.mark.slow

PYTHON = Path(__file__).resolve().parents[2] / ".venv-eval" / "bin" / "python"
TASK = """
task: cities
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["###"], max_gen_toks: 30}}
filter_list:
  - name: default
    filter:
      - function: regex
        regex_pattern: "(Paris|Rome|Tokyo)"
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata: {{version: 1}}
"""


@pytest.mark.skipif(not PYTHON.exists(), reason="lm-eval is not installed in .venv-eval")
def test_a_local_task_is_run_and_kept(echo_server: tuple[Program, Server], tmp_path: Path) -> None:
    """A task whose data are on the disk is run offline, and its results are a run of an evaluation of its name."""
    program, _ = echo_server
    data = tmp_path / "cities.jsonl"
    asked = [("Say the word Rome.", "Rome"), ("Where is the Louvre?", "Paris")]
    data.write_text("\n".join(json.dumps({"question": question, "answer": answer}) for question, answer in asked))
    (tmp_path / "cities.yaml").write_text(TASK.format(data=data))
    told = ("--model", "echo", "--include", str(tmp_path), "--python", str(PYTHON))
    (report,) = program.json("eval", "harness", "--tasks", "cities", *told)["data"]
    assert (report["model"], report["status"]) == ("echo", "completed")
    assert [(each["name"], each["score"]["mean"]) for each in report["criteria"]] == [("exact_match", 0.5)]
    (made,) = [each for each in program.json("eval", "list")["data"] if each["name"] == "cities"]
    assert made["metadata"]["by"] == "lm-eval"
    assert "lm-eval failed" in program.refused(2, "eval", "harness", "--tasks", "gsm8k", *told)


def test_an_environment_without_lm_eval_is_named(echo_server: tuple[Program, Server], tmp_path: Path) -> None:
    """Where there is no such Python, the message says what to do."""
    program, _ = echo_server
    told = ("--model", "echo", "--tasks", "any", "--python", str(tmp_path / "python"))
    assert "extra 'eval'" in program.refused(2, "eval", "harness", *told)
