"""`freehold train watch`: a training that runs elsewhere, or has run, as its log tells it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from freehold.errors import ConfigError
from freehold.training.trainer.live import RunView
from freehold.training.trainer.log_file import NAME, Tail

_EVERY_S = 0.5


def train_watch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The training's folder: where its log.jsonl is.")],
    once: Annotated[bool, typer.Option("--once", help="Show how it stands now, and do not wait for more.")] = False,
) -> None:
    """Watch a training: loss, speed, time left. Ends when the training does; Ctrl-C stops the watching only."""
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}")
    stages = sorted(str(log.parent) for log in folder.glob(f"*/{NAME}"))
    if stages and not (folder / NAME).exists():
        raise ConfigError(f"{folder} has no log of its own, but those of {', '.join(stages)}; watch one of them")
    if once:
        view = RunView()
        view.take(Tail(folder / NAME).read()[1])
        if not view.run:
            raise ConfigError(f"{folder} has no log of a training yet ({NAME})")
        Console(highlight=False).print(view.render())
        return
    follow(folder, lambda view: view.ended)


def follow(folder: Path, ended: Callable[[RunView], bool], *, anew: bool = True) -> RunView:
    """Show a training until it has ended: a picture that changes at a terminal, lines elsewhere.

    Args:
        folder: of the training; its log need not be there yet.
        ended: whether there is nothing more to wait for, given what is known of the training.
        anew: whether lines tell from the beginning; otherwise only what comes from now on.
    """
    return _draw(folder, ended) if sys.stdout.isatty() else _tell(folder, ended, anew=anew)


def _draw(folder: Path, ended: Callable[[RunView], bool]) -> RunView:
    tail, view = Tail(folder / NAME), RunView()
    with Live(view.render(), console=Console(highlight=False), refresh_per_second=4) as live:
        while True:
            last = ended(view)
            cut, lines = tail.read()
            view = RunView() if cut else view
            view.take(lines)
            live.update(view.render())
            if last or ended(view):
                return view
            time.sleep(_EVERY_S)


def _tell(folder: Path, ended: Callable[[RunView], bool], *, anew: bool) -> RunView:
    tail, view, told_s = Tail(folder / NAME), RunView(), -1.0
    if not anew:
        _, before = tail.read()
        view.take(before)
        told_s = max((line.get("seconds", 0.0) for line in before), default=told_s)
    while True:
        last = ended(view)
        cut, lines = tail.read()
        view = RunView() if cut else view
        for line in lines:
            view.take([line])
            seconds = line.get("seconds", 0.0)
            if seconds > told_s and (text := view.plain(line)) is not None:  # what a cut log repeats is not told again
                print(text, flush=True)
            told_s = max(told_s, seconds)
        if last or ended(view):
            return view
        time.sleep(_EVERY_S)
