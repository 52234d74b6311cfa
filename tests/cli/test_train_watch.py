"""`freehold train watch`: a training is followed by its log, from outside of it."""

import os
import pty
import re
import select
import subprocess
from pathlib import Path
from typing import Any

import pytest

from freehold.cli.train_watch import follow
from freehold.training.trainer.live import RunView
from freehold.training.trainer.log_file import NAME, LogFile
from tests.cli.program import ARGV, Program

RUN = {"kind": "run", "name": "shakespeare", "steps": 20}


def point(step: int, loss: float) -> dict[str, Any]:
    rates = {"grad_norm": 0.5, "learning_rate": 3e-4, "tokens": step * 768, "tokens_per_s": 768.0}
    return {"kind": "step", "step": step, "loss": loss, **rates, "seconds": step}


def test_how_a_training_stands_is_told(program: Program, tmp_path: Path) -> None:
    """With --once what the log says now is printed, and nothing is waited for."""
    log = LogFile(tmp_path / NAME)
    for line in (RUN, point(10, 3.25)):
        log.append(line)
    printed = program.fine("train", "watch", str(tmp_path), "--once")
    assert "shakespeare" in printed
    assert "step 10 of 20" in printed
    assert "loss 3.2500" in printed
    assert "10 s left" in printed


def test_a_folder_without_a_training_is_told(program: Program, tmp_path: Path) -> None:
    """A name that is no folder, or a folder without a log, is named."""
    assert "there is no folder" in program.refused(2, "train", "watch", str(tmp_path / "no"))
    assert "has no log" in program.refused(2, "train", "watch", str(tmp_path), "--once")
    (tmp_path / "painter" / "decoder").mkdir(parents=True)
    (tmp_path / "painter" / "decoder" / "log.jsonl").touch()
    told = program.refused(2, "train", "watch", str(tmp_path / "painter"))
    assert "painter/decoder; watch one of them" in " ".join(told.split()).replace("/ ", "/")


def test_a_resumed_training_tells_what_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that the log has already were told before: only those that come are told, with what the log knew."""
    log = LogFile(tmp_path / NAME)
    for line in (RUN, point(5, 3.5)):
        log.append(line)
    asked = 0

    def ended(_: RunView) -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            log.append(point(10, 3.25))
        return asked == 3

    follow(tmp_path, ended, anew=False)
    assert capsys.readouterr().out.startswith("step 10/20  loss 3.2500")


@pytest.mark.slow
def test_a_pipe_gets_lines_until_the_end(program: Program, tmp_path: Path) -> None:
    """Each point is a line as it comes, what a resumed training repeats is not told again, and the end ends it."""
    log = LogFile(tmp_path / NAME)
    for line in (RUN, point(5, 3.5), point(10, 3.25)):
        log.append(line)
    argv = [*ARGV, "train", "watch", str(tmp_path)]
    with subprocess.Popen(argv, env=program.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(3)]
        log.rewind(5)
        log.append({"kind": "event", "step": 5, "text": "goes on after step 5", "seconds": 11})
        log.append({**point(10, 3.0), "seconds": 16})
        log.append({**point(20, 2.5), "seconds": 26})
        log.append({"kind": "end", "step": 20, "seconds": 26.5})
        rest = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 0
    assert [line.split("  ")[:2] for line in told[1:]] == [["step 5/20", "loss 3.5000"], ["step 10/20", "loss 3.2500"]]
    assert rest[0] == "step 5: goes on after step 5"
    assert [line.split("  ")[:2] for line in rest[1:3]] == [
        ["step 10/20", "loss 3.0000"],
        ["step 20/20", "loss 2.5000"],
    ]
    assert rest[3:] == ["finished after 26 s"]


@pytest.mark.slow
def test_a_terminal_gets_a_picture(program: Program, tmp_path: Path) -> None:
    """At a terminal there is one picture that is drawn anew, which stays when the training has ended."""
    log = LogFile(tmp_path / NAME)
    for line in (
        RUN,
        *(point(step, 4 - step / 10) for step in range(1, 21)),
        {"kind": "end", "step": 20, "seconds": 20},
    ):
        log.append(line)
    leader, follower = pty.openpty()
    environment = {**program.environment, "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen([*ARGV, "train", "watch", str(tmp_path)], env=environment, stdout=follower)
    os.close(follower)
    printed = b""
    while process.poll() is None or select.select([leader], [], [], 0.2)[0]:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                printed += os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
    os.close(leader)
    assert process.wait() == 0
    screen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode())
    assert "step 20 of 20" in screen
    assert "█" in screen
    assert "finished" in screen
