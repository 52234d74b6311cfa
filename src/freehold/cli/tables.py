"""Tables: drawn for a person at a terminal, plain columns for everything else."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from freehold.cli.output import visible

_WHOLE = 24
"""Columns of at most this many characters, and the first, are not broken, others not made narrower."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their columns' names.

    At a terminal long texts are broken to fit its width; elsewhere each row is one line, columns two spaces apart.
    """
    cells = [[_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    if not sys.stdout.isatty():
        for line in [[name.upper() for name in columns], *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, collapse_padding=True)
    least = [widths[0], *(min(width, _WHOLE) for width in widths[1:])]
    for name, width, kept in zip(columns, widths, least, strict=True):
        table.add_column(name, overflow="fold", no_wrap=width == kept, min_width=kept)
    for line in cells:
        table.add_row(*(Text(cell) for cell in line))
    terminal = Console(highlight=False)
    terminal.width = max(terminal.width, sum(least) + 2 * len(least))
    terminal.print(table, soft_wrap=False)


def _one_line(cell: object) -> str:
    """A cell's text; a dash where there is nothing."""
    text = "" if cell is None else visible(str(cell))
    return " ".join(text.split()) or "-"


def in_bytes(size: float) -> str:
    """A size for people, such as 92.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def at_time(seconds: int | None) -> str:
    """A moment (seconds since the epoch) in UTC, to the minute; empty if there is none."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
