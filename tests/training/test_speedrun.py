"""The speedrun in its short form: from a text to an answer over HTTP, in an empty home."""

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.finetune.driving import trainer_python

pytestmark = [pytest.mark.slow, pytest.mark.finetune]

SCRIPT = Path(__file__).resolve().parents[2] / "runs" / "speedrun.sh"
TINY = (
    "training.steps=30",
    "training.batch=8",
    "training.micro_batch=8",
    "training.evaluate_every=15",
    "training.checkpoints.every_steps=10",
    "model.layers=2",
    "model.width=32",
    "model.heads=2",
    "model.kv_heads=2",
    "model.feed_forward=64",
)


def play(speeches: int = 400) -> str:
    """A play of two kings who count what they have."""
    draw = random.Random(1)
    things = ("crowns", "horses", "ships", "sons", "castles")
    lines = [
        f"KING {'AB'[at % 2]}:\nI have {at} {draw.choice(things)}, and they are {draw.choice(things)}."
        for at in range(speeches)
    ]
    return "\n\n".join(lines) + "\n"


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def speedrun(folder: Path, text: Path, tune: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the script with a model so small that it learns nothing of use."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")},
        "FREEHOLD": str(Path(sys.executable).with_name("freehold")),
        "TEXT": str(text),
        "OUT": str(folder),
        "LICENCE": "CC0-1.0",
        "VOCABULARY": "300",
        "PORT": str(free_port()),
        "ASK": "I have ships.",
        "PRETRAIN": " ".join(f"--set {setting}" for setting in TINY),
        "TUNE": f"--epochs 1 --batch-size 64 {tune}",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    return subprocess.run([str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_a_text_becomes_a_model_that_answers(tmp_path: Path) -> None:
    """Every step leaves what it should, a second call does nothing twice, and other options of tuning are followed."""
    if trainer_python() is None:
        pytest.skip("there is no environment with torch and TRL; make setup-train makes it")
    text, out = tmp_path / "play.txt", tmp_path / "out"
    text.write_text(play(), encoding="utf-8")
    done = speedrun(out, text)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    answer = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"id":"chatcmpl'))
    assert answer["choices"][0]["finish_reason"] in {"stop", "length"}
    assert answer["usage"]["completion_tokens"] >= 1
    assert "verified: " in done.stdout
    lines = [line.strip("│├└─ ") for line in done.stdout.splitlines()]
    for made_from in ("file play.txt", "checkpoint speedrun/step-30", "dataset speedrun/data"):
        assert any(line.startswith(made_from) for line in lines), made_from
    left = (
        "data/card.md",
        "run/log.jsonl",
        "run/checkpoints/step-30",
        "base/README.md",
        "evaluation.txt",
        "evaluation.svg",
    )
    assert [name for name in left if not (out / name).exists()] == []
    assert not (out / "home" / "run" / "server.json").exists(), "the server was ended"

    again = speedrun(out, text)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "freehold train" not in again.stderr
    assert "freehold tune start" not in again.stderr
    assert '"object":"chat.completion"' in again.stdout

    before = (out / "evaluation.txt").read_text(encoding="utf-8")
    other = speedrun(out, text, "--seed 7")
    assert other.returncode == 0, other.stderr[-3000:]
    assert "freehold train" not in other.stderr
    started = [line for line in other.stderr.splitlines() if line.startswith("$ freehold tune start")]
    assert len(started) == 2
    assert all("--seed 7" in line for line in started)
    assert "The options of supervised have changed" in other.stderr
    tuned = {word for word in (out / "evaluation.txt").read_text(encoding="utf-8").split() if word.startswith("ft:")}
    assert len(tuned) == 2
    assert not any(name in before for name in tuned), "what was evaluated before is not evaluated again"


def test_without_a_text_it_says_where_to_get_one(tmp_path: Path) -> None:
    """Nothing is begun without a text."""
    done = speedrun(tmp_path / "out", tmp_path / "nothing.txt")
    assert done.returncode == 2
    assert "TEXT=FILE" in done.stderr
    assert not (tmp_path / "out").exists()
