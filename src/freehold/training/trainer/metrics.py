"""What a training tells of itself: loss, speed, the share of the peak that is reached (MFU), and cost.

Into `log.jsonl` (`freehold.training.trainer.log_file`) and TensorBoard's files, by the first process. Numbers on a
device are read only when a line is due, since reading one waits for the device.

MFU is as PaLM's authors define it (arXiv 2204.02311, appendix B): the operations that the model needs, without those
that are done twice, over those that the devices could do in the time. Time that evaluations and checkpoints hold the
training up does not count as the training's speed, but as its cost.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from torch import Tensor

from freehold.training.trainer.event_files import EventFile
from freehold.training.trainer.log_file import NAME, LogFile

TENSORBOARD: Final = "tensorboard"

Number: TypeAlias = float | Tensor


@dataclass(frozen=True, slots=True)
class Rates:
    """What turns steps and seconds into tokens, operations and money.

    Args:
        samples_per_step: over all devices.
        tokens_per_sample: what a sample counts as.
        flops_per_sample: operations of one sample, forward and backward.
        devices: that the training runs on.
        peak_flops: operations a second of one device at most; None if that is not known.
        price_per_hour: of one device; None if it is nobody's business.
    """

    samples_per_step: int
    tokens_per_sample: int
    flops_per_sample: float
    devices: int = 1
    peak_flops: float | None = None
    price_per_hour: float | None = None

    def of(self, steps: int, seconds: float) -> dict[str, float]:
        """Tokens a second and the share of the peak that so many steps in so many seconds mean."""
        samples_per_s = steps * self.samples_per_step / max(seconds, 1e-9)
        rates = {"tokens_per_s": samples_per_s * self.tokens_per_sample}
        if self.peak_flops:
            rates["mfu"] = samples_per_s * self.flops_per_sample / (self.devices * self.peak_flops)
        return rates

    def cost(self, seconds: float) -> dict[str, float]:
        """What the devices cost for that long, if there is a price."""
        return {} if self.price_per_hour is None else {"cost": seconds / 3600 * self.devices * self.price_per_hour}


class RunLog:
    """The log of one training. Processes that are not the first write nothing, and need not know that.

    Args:
        folder: of the training; the log goes on with what is there.
        description: what is trained: `name`, `steps` and whatever else is worth knowing; the log's first line.
        rates: of the training.
        every: steps between lines.
        step: after which the training goes on; points of curves after it are cut off. 0 begins.
        writes: whether this is the first process.
    """

    def __init__(
        self,
        folder: Path,
        description: Mapping[str, Any],
        rates: Rates,
        every: int,
        step: int = 0,
        *,
        writes: bool = True,
    ) -> None:
        self._folder = folder
        self._rates = rates
        self._every = every
        self._steps = int(description.get("steps", 0))
        self._step = step
        self._step_of_last_line = step
        self._aside_s = 0.0
        self._file = LogFile(folder / NAME) if writes else None
        self._board: EventFile | None = None
        self._failing = False
        before = self._file.lines() if self._file else []
        self._before_s = max((line.get("seconds", 0.0) for line in before), default=0.0)
        self._begun = self._last = time.monotonic()
        if self._file is None:
            return
        self._file.rewind(step)
        self._board = EventFile(folder / TENSORBOARD, step)
        if not any(line.get("kind") == "run" for line in before):
            self._write({"kind": "run", **description, "begun": datetime.now(UTC).isoformat(timespec="seconds")})
        if before:
            self.event(f"goes on after step {step}" if step else "begins anew: there was no checkpoint yet")

    def step(self, step: int, loss: Number, grad_norm: Number, learning_rate: float) -> None:
        """Take in a step; every so many, and at the end, there is a line.

        Args:
            step: counted from 1.
            loss: the mean over the step's samples.
            grad_norm: the gradient's length before it was clipped.
            learning_rate: of this step.
        """
        self._step = step
        if self._file is None or (step % self._every and step != self._steps):
            return
        values = {"loss": float(loss), "grad_norm": float(grad_norm), "learning_rate": learning_rate}
        now = time.monotonic()
        rates = self._rates.of(step - self._step_of_last_line, now - self._last - self._aside_s)
        tokens = step * self._rates.samples_per_step * self._rates.tokens_per_sample
        seconds = self._seconds()
        self._last, self._aside_s, self._step_of_last_line = now, 0.0, step
        self._point(
            "step", step, {**values, "tokens": tokens, **rates, **self._rates.cost(seconds), "seconds": seconds}
        )

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take in what held-out samples say after a step."""
        if self._file is not None:
            self._point("evaluation", step, {**metrics, "seconds": self._seconds()})

    def event(self, text: str) -> None:
        """Take in something that a person should know: a step left out, a checkpoint that could not be written."""
        if self._file is not None:
            self._write({"kind": "event", "step": self._step, "text": text, "seconds": self._seconds()})

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done within is not training: evaluating, copying a checkpoint. It does not count as its speed."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._aside_s += time.monotonic() - begun

    def rewind(self, step: int) -> None:
        """The training went back to a step: the points of curves after it are cut off, since they come again."""
        self._step = self._step_of_last_line = step
        self._last, self._aside_s = time.monotonic(), 0.0
        if self._file is not None:
            self._file.rewind(step)
            self._board = EventFile(self._folder / TENSORBOARD, step)

    def close(self) -> None:
        """The training has ended, or stops to go on later: the log says so, and what waited for room is tried again."""
        if self._file is not None:
            self._write({"kind": "end", "step": self._step, "seconds": self._seconds()})
        if self._board is not None:
            self._board.finish()

    def _seconds(self) -> float:
        """How long the training has run, all its processes one after another together."""
        return self._before_s + time.monotonic() - self._begun

    def _point(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        self._write({"kind": kind, "step": step, **{name: _finite(value) for name, value in values.items()}})
        if self._board is not None:
            self._board.add(step, values)

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        problem = self._file.append(line)
        if problem is not None and not self._failing:
            self._failing = True
            self.event(f"the log could not be written for a while: {problem}")
        self._failing = problem is not None


def _finite(value: float) -> float | None:
    """A number as JSON can say it; None for what is none."""
    return value if math.isfinite(value) else None
