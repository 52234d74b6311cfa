"""Imports every command of the program; for the process that `tests.cli.forked` forks from."""

from freehold.cli.lazy import load
from freehold.cli.main import Commands

IMPORTED = [load(command.target) for command in Commands.lazy]
