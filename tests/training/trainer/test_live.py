"""A training is watched by its log: at a terminal, line by line, and while it is cut and goes on."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from freehold.training.trainer.live import RunView, sparkline
from freehold.training.trainer.log_file import AppendedFile, LogFile, Tail, read_lines

RUN = {"kind": "run", "name": "shakespeare", "steps": 200}


def point(step: int, loss: float | None = 2.5) -> dict[str, Any]:
    rates = {"grad_norm": 0.5, "learning_rate": 3e-4, "tokens": step * 768, "tokens_per_s": 7680.0, "mfu": 0.417}
    return {"kind": "step", "step": step, "loss": loss, **rates, "cost": 1.25, "seconds": step / 10}


def shown(view: RunView, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(view.render())
    return captured.get()


def test_a_terminal_shows_where_the_training_is() -> None:
    """Step, loss and its curve, speed, share of the peak, cost, time left, held-out loss and events are there."""
    view = RunView()
    view.take([RUN, *(point(step, 4 - step / 100) for step in range(10, 110, 10))])
    view.take([{"kind": "evaluation", "step": 100, "valid_loss": 2.9, "seconds": 10.1}])
    view.take([{"kind": "event", "step": 100, "text": "goes on after step 90", "seconds": 10.2}])
    text = shown(view)
    for part in ("shakespeare", "step 100 of 200", "loss 3.0000", "█", "▁", "7,680 tokens/s", "MFU 41.7%", "cost 1.25"):
        assert part in text
    assert "10 s left" in text, "768 tokens a step at 7,680 a second, 100 steps to go"
    assert "held out, step 100: valid_loss 2.9000" in text
    assert "step 100: goes on after step 90" in text


@pytest.mark.parametrize(("width", "lines"), [(40, 7), (80, 5), (200, 4)])
def test_it_fits_its_terminal(width: int, lines: int) -> None:
    """Nothing is cut off at any width, and the curve and the bar take what room there is."""
    view = RunView()
    view.take([RUN, *(point(step, 4 - step / 100) for step in range(1, 101))])
    view.take([{"kind": "evaluation", "step": 100, "valid_loss": 2.9, "seconds": 10.1}])
    text = shown(view, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert len(text.splitlines()) == lines
    for part in ("shakespeare", "step 100 of 200", "loss 3.0000", "3.9900 to 3.0000", "10 s left", "76,800 tokens"):
        assert part in text
    assert max(text.count(char) for char in "█▇") >= 1
    assert "…" not in text


def test_an_empty_log_is_waited_for() -> None:
    """Before the training says anything there is something to read."""
    assert "waiting" in shown(RunView())


def test_lines_for_a_file_tell_each_kind_once() -> None:
    """Every kind of line is one line of text, and the end says whether all steps were made."""
    view, told = RunView(), []
    evaluation = {"kind": "evaluation", "step": 200, "valid_loss": 1.5}
    event = {"kind": "event", "step": 200, "text": "note\x1b[2J"}
    for line in [RUN, point(100), point(200, None), evaluation, event, {"kind": "end", "step": 200, "seconds": 150.0}]:
        view.take([line])
        told.append(view.plain(line))
    assert told[0] == "shakespeare: 200 steps"
    assert told[1] is not None
    assert told[1].startswith("step 100/200  loss 2.5000  7,680 tokens/s  MFU 41.7%  76,800 tokens")
    assert "loss not a number" in str(told[2])
    assert told[3] == "held out, step 200: valid_loss 1.5000"
    assert told[4] == "step 200: note[2J", "control characters do not reach the terminal"
    assert told[5] == "finished after 2 min"
    assert view.ended
    assert view.finished


def test_a_stopped_training_is_not_called_finished() -> None:
    """An end before the last step is a stop, and lines after it mean that it goes on."""
    view = RunView()
    end = {"kind": "end", "step": 100, "seconds": 10.0}
    view.take([RUN, point(100), end])
    assert (view.ended, view.finished) == (True, False)
    assert view.plain(end) == "stopped after 10 s"
    view.take([{"kind": "event", "step": 100, "text": "goes on after step 100"}])
    assert not view.ended


@pytest.mark.parametrize(
    ("values", "curve"), [([], ""), ([1.0], "▁"), ([2.0, 2.0], "▁▁"), ([0, 7], "▁█"), ([7, 0], "█▁")]
)
def test_a_curve_spans_its_lowest_and_highest(values: list[float], curve: str) -> None:
    """Equal values are a flat line."""
    assert sparkline(values, 10) == curve


def test_a_long_curve_keeps_its_ends() -> None:
    """More values than characters are averaged in order."""
    curve = sparkline([float(value) for value in range(1000)], 8)
    assert curve == "▁▂▃▄▅▆▇█"


def test_a_log_is_followed_while_it_is_written_and_cut(tmp_path: Path) -> None:
    """New whole lines come once; when points were cut off, all lines that are left come again, and that is said."""
    log, tail = LogFile(tmp_path / "log.jsonl"), Tail(tmp_path / "log.jsonl")
    assert tail.read() == (False, [])
    log.append(RUN)
    log.append(point(10))
    assert tail.read() == (False, [RUN, point(10)])
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'{"kind": "st')
    assert tail.read() == (False, []), "half a line waits for its end"
    log.append(point(20))
    assert tail.read() == (False, [point(20)])
    log.rewind(10)
    log.append(point(30))
    assert tail.read() == (True, [RUN, point(10), point(30)])


def test_points_after_a_step_are_cut_and_events_stay(tmp_path: Path) -> None:
    """What comes again is cut off; what happened stays told."""
    path = tmp_path / "log.jsonl"
    log = LogFile(path)
    event = {"kind": "event", "step": 20, "text": "the loss leapt"}
    for line in (RUN, point(10), {"kind": "evaluation", "step": 20, "valid_loss": 2.0}, point(20), event):
        log.append(line)
    log.rewind(10)
    assert read_lines(path) == [RUN, point(10), event]


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    """What a killed process left half written is gone before the next line."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(json.dumps(RUN).encode() + b'\n{"kind": "step", "st')
    log = LogFile(path)
    log.append(point(1))
    assert read_lines(path) == [RUN, point(1)]
    assert path.read_bytes().count(b"\n") == 2


def test_records_wait_for_a_place_to_be_written_to(tmp_path: Path) -> None:
    """What could not be written is told, leaves nothing half, and comes with the next, in order."""
    path = tmp_path / "gone" / "records"
    file = AppendedFile(path)
    assert isinstance(file.append(b"one "), FileNotFoundError)
    path.parent.mkdir()
    path.write_bytes(b"on")  # as a disk that is full leaves it
    assert file.append(b"two ") is None
    assert path.read_bytes() == b"one two "
    assert file.finish() is None
    assert path.read_bytes() == b"one two "
