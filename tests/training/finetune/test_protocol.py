"""How the training process is told what to do, and what it tells."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from freehold.training.finetune.protocol import Channel, Stopped, Task, TaskInvalid

GOOD: dict[str, Any] = {
    "method": "supervised",
    "base": {"name": "base", "path": "/models/base.gguf", "sha256": "ab" * 32},
    "training": "training.jsonl",
    "validation": None,
    "hyperparameters": {"n_epochs": "auto"},
    "seed": 3,
    "export": "f16",
    "name": "ft:base",
    "threads": 2,
    "max_steps": None,
    "checkpoint_steps": "auto",
    "response_format": None,
}


def read(folder: Path, change: dict[str, Any]) -> Task:
    (folder / "task.json").write_text(json.dumps({**GOOD, **change}))
    return Task.read(folder)


def test_a_task_is_read(tmp_path: Path) -> None:
    """What stands in task.json is what is done."""
    task = read(tmp_path, {"export": "lora", "max_steps": 5})
    assert (task.method, task.seed, task.export, task.max_steps) == ("supervised", 3, "lora", 5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"method": "magic"}, "method"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"speed": 1}}, "hyperparameters.speed"),
        ({"base": {"name": "a", "path": "x", "sha256": "short"}}, "base.sha256"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_wrong_task_names_its_field(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    """An unknown field or a value out of range is refused by name."""
    with pytest.raises(TaskInvalid) as caught:
        read(tmp_path, change)
    assert (caught.value.param or "").startswith(named)


@pytest.mark.parametrize("name", ["../other.jsonl", "/etc/passwd", "a/b", "..", ".hidden", ""])
def test_names_do_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    """A file of examples lies in the job's folder, whatever the task says."""
    with pytest.raises(TaskInvalid):
        read(tmp_path, {"training": name})


def test_messages_are_lines_of_json() -> None:
    """Each message is one line, and numbers that JSON has not are null."""
    out = io.BytesIO()
    channel = Channel(io.BytesIO(), out)
    channel.say("metrics", step=1, train_loss=float("nan"), deep={"list": [float("inf"), 0.5]})
    channel.event("line\nbreak")
    first, second = out.getvalue().splitlines()
    assert json.loads(first) == {"type": "metrics", "step": 1, "train_loss": None, "deep": {"list": [None, 0.5]}}
    assert json.loads(second) == {"type": "event", "level": "info", "message": "line\nbreak"}


def test_grades_answer_their_question() -> None:
    """Answers to other questions are passed over, and a reward may be missing."""
    incoming = b'{"type":"grades","id":9,"rewards":[1]}\nnonsense\n{"type":"grades","id":1,"rewards":[0.5,null]}\n'
    read_end, write_end = os.pipe()
    os.write(write_end, incoming)
    out = io.BytesIO()
    with os.fdopen(read_end, "rb", buffering=0) as reading:
        channel = Channel(reading, out)
        rewards, problems = channel.grade([{"output_text": "a"}, {"output_text": "b"}])
        assert (rewards, problems) == ([0.5, None], [])
        assert channel.stop_wanted is None
        os.write(write_end, b'{"type":"cancel"}\n')
        with pytest.raises(Stopped, match="cancel"):
            channel.grade([{"output_text": "c"}])
        os.close(write_end)
        channel._reader.join()


def test_a_parent_that_is_gone_stops_the_training() -> None:
    """When nobody listens any more, the process saves what it has and ends."""
    channel = Channel(io.BytesIO(b""), io.BytesIO())
    channel._reader.join()
    assert channel.stop_wanted == "pause"
    with pytest.raises(Stopped, match="pause"):
        channel.grade([{"output_text": "a"}])
