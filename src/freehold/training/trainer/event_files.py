"""TensorBoard's files, which draw a training's curves beside those of others.

TensorBoard's own writer has a thread that ends with an error when the disk is full; here a record that cannot be
written waits for the next (`freehold.training.trainer.log_file.AppendedFile`). The records are TensorBoard's own.
"""

import io
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from freehold.training.trainer.log_file import AppendedFile

_PREFIX: Final = "events.out.tfevents."
_TIME: Final = re.compile(rf"{re.escape(_PREFIX)}(\d+\.\d{{6}})\.")
_TICK_S: Final = 1e-5
"""What two files are apart at least."""


class EventFile:
    """A new file in a folder of TensorBoard's.

    Args:
        folder: made if need be; TensorBoard reads its files one after another, as if they were one.
        step: after which the training goes on: TensorBoard hides what older files say of later steps. 0 begins.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{_PREFIX}{_later(folder):.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = AppendedFile(folder / name)
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if step:
            begun = SessionLog(status=SessionLog.START)
            self._append(Event(wall_time=time.time(), step=step + 1, session_log=begun))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write points of curves, by the curves' names."""
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))

    def finish(self) -> None:
        """Write what waited for room, if there is room now."""
        self._file.finish()

    def _append(self, event: Event) -> None:
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self._file.append(record.getvalue())


def _later(folder: Path) -> float:
    """The time in seconds, or just after the folder's newest file: readers go by names, and clocks go back."""
    found = (_TIME.match(path.name) for path in folder.iterdir())
    return max([time.time(), *(float(each[1]) + _TICK_S for each in found if each)])
