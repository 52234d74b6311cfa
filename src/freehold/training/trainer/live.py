"""What a training looks like while it runs: for a terminal and, line by line, for a file. Needs no torch.

It is made of the lines of the training's log (`freehold.training.trainer.log_file`), so a training that runs in another
process, or on another machine, is watched in the same way.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from statistics import median
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_BARS: Final = "▁▂▃▄▅▆▇█"
_SPARKS: Final = 60
"""Characters of the loss's curve at most."""
_LEAST_SPARKS: Final = 8
_BAR: Final = 30
"""Characters of the bar at most."""
_LEAST_BAR: Final = 10
_GAP: Final = 2
_BETWEEN: Final = "  ·  "
_SPEEDS: Final = 9
"""Newest lines by which the time that is left is told."""
_EVENTS: Final = 5
"""Newest events that are shown."""
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400


class RunView:
    """A training as far as its log has been read."""

    def __init__(self) -> None:
        self.run: dict[str, Any] = {}
        """What is trained; empty as long as the log does not say."""
        self.ended = False
        """Whether the training has ended, or was stopped; one that is killed does not say so."""
        self._steps: list[dict[str, Any]] = []
        self._evaluation: dict[str, Any] = {}
        self._events: list[dict[str, Any]] = []

    def take(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take in lines of the log, in their order."""
        for line in lines:
            kind = line.get("kind")
            self.ended = kind == "end"
            if kind == "run":
                self.run = dict(line)
            elif kind == "step":
                self._steps.append(dict(line))
            elif kind == "evaluation":
                self._evaluation = dict(line)
            elif kind == "event":
                self._events = [*self._events, dict(line)][-_EVENTS:]

    @property
    def finished(self) -> bool:
        """Whether the last step was done."""
        return bool(self._steps) and self._step() >= self._total() > 0

    def render(self) -> RenderableType:
        """For a terminal, as wide as it is when it is drawn."""
        return _Fitting(self._drawn)

    def _drawn(self, width: int) -> RenderableType:
        if not self.run:
            return Text("waiting for the training to begin", style="dim")
        parts: list[RenderableType] = [*self._progress(width), self._loss(width)]
        if facts := self._facts():
            parts.append(Text("\n".join(_packed(facts, width)), style="cyan"))
        if self._evaluation:
            parts.append(Text(self._evaluated(), style="green"))
        parts += [Text(f"step {each['step']:,}: {_visible(each['text'])}", style="yellow") for each in self._events]
        return Group(*parts)

    def plain(self, line: Mapping[str, Any]) -> str | None:
        """A line of the log, which was taken in, as a line of text; None if it is not worth one."""
        kind = line.get("kind")
        if kind == "run":
            return f"{_visible(line.get('name', 'training'))}: {line.get('steps', 0):,} steps"
        if kind == "step":
            left = [] if self.finished else [self._left()]
            return "  ".join(
                [f"step {line['step']:,}/{self._total():,}", f"loss {_number(line['loss'])}", *self._facts(), *left]
            )
        if kind == "evaluation":
            return self._evaluated()
        if kind == "event":
            return f"step {line['step']:,}: {_visible(line['text'])}"
        if kind == "end":
            return f"{'finished' if self.finished else 'stopped'} after {_duration(line.get('seconds', 0.0))}"
        return None

    def _progress(self, width: int) -> list[RenderableType]:
        """Name, steps, a bar and the time that is left: in one line, or where that is too narrow in two."""
        name = Text(_visible(self.run.get("name", "training")), style="bold", overflow="ellipsis", no_wrap=True)
        steps = Text(f"step {self._step():,} of {self._total():,}", no_wrap=True)
        left = Text("finished" if self.finished else "stopped" if self.ended else self._left(), no_wrap=True)
        beside = len(left) + _GAP
        before = len(name) + len(steps) + 2 * _GAP
        narrow = before + _LEAST_BAR + beside > width
        beside += 0 if narrow else before
        bar = ProgressBar(total=max(self._total(), 1), completed=self._step(), width=max(1, min(_BAR, width - beside)))
        return [_row((name, steps)), _row((bar, left))] if narrow else [_row((name, steps, bar, left))]

    def _loss(self, width: int) -> RenderableType:
        if not self._steps:
            return Text("the first steps are under way", style="dim")
        losses = [line["loss"] for line in self._steps if line["loss"] is not None]
        last = f"loss {_number(self._steps[-1]['loss'])}"
        span = f"{_number(max(losses))} to {_number(min(losses))}" if losses else ""
        room = max(_LEAST_SPARKS, width - len(last) - len(span) - 2 * _GAP)
        row = Text.assemble(
            "loss ", (_number(self._steps[-1]["loss"]), "bold"), "  ", (sparkline(losses, min(_SPARKS, room)), "blue")
        )
        if losses:
            row.append(f"  {span}", style="dim")
        return row

    def _facts(self) -> list[str]:
        if not self._steps:
            return []
        last = self._steps[-1]
        facts = [
            f"{last['tokens_per_s']:,.0f} tokens/s",
            f"MFU {last['mfu']:.1%}" if last.get("mfu") is not None else "",
            f"{last['tokens']:,} tokens",
            f"gradient {_number(last['grad_norm'])}",
            f"rate {last['learning_rate']:.2e}",
            f"cost {last['cost']:,.2f}" if last.get("cost") is not None else "",
        ]
        return [fact for fact in facts if fact]

    def _evaluated(self) -> str:
        told = {name: value for name, value in self._evaluation.items() if name not in {"kind", "step", "seconds"}}
        facts = "  ".join(f"{_visible(name)} {_number(value)}" for name, value in told.items())
        return f"held out, step {self._evaluation['step']:,}: {facts}"

    def _left(self) -> str:
        """How long it will take, by the middle speed of the newest lines."""
        tokens_per_s = median([line["tokens_per_s"] for line in self._steps[-_SPEEDS:]] or [0.0])
        if not tokens_per_s:
            return ""
        last = self._steps[-1]
        tokens_per_step = last["tokens"] / last["step"]
        return f"{_duration((self._total() - last['step']) * tokens_per_step / tokens_per_s)} left"

    def _step(self) -> int:
        return int(self._steps[-1]["step"]) if self._steps else 0

    def _total(self) -> int:
        return int(self.run.get("steps", 0))


class _Fitting:
    """What is drawn for the width that there is."""

    def __init__(self, draw: Callable[[int], RenderableType]) -> None:
        self._draw = draw

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._draw(options.max_width)


def _row(parts: Iterable[RenderableType]) -> RenderableType:
    row = Table.grid(padding=(0, _GAP))
    row.add_row(*parts)
    return row


def _packed(facts: Iterable[str], width: int) -> Iterator[str]:
    """Facts in lines that are as long as the width allows."""
    line = ""
    for fact in facts:
        longer = f"{line}{_BETWEEN}{fact}" if line else fact
        if line and len(longer) > width:
            yield line
            longer = fact
        line = longer
    yield line


def sparkline(values: list[float], width: int) -> str:
    """A curve of at most so many characters, from its first value to its last; each is the mean of its share."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [len(values) * place // count for place in range(count + 1)]
    means = [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)


def _number(value: float | None) -> str:
    return (
        "not a number"
        if value is None
        else f"{value:.4g}"
        if abs(value) < 0.01 or abs(value) >= 1000
        else f"{value:.4f}"
    )


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.1f} days"


def _visible(text: Any) -> str:
    """The text without control characters, which could steer the terminal."""
    return "".join(char for char in str(text) if char.isprintable())
