"""Tables: drawn for a person at a terminal, plain columns for everything else."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from freehold.cli.output import visible


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their columns' names.

    At a terminal the columns share its width; elsewhere each row is one line, columns two spaces apart.
    """
    cells = [[_one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
        for line in [[name.upper() for name in columns], *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for line in cells:
        table.add_row(*(Text(cell) for cell in line))
    Console(highlight=False).print(table)


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
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")
