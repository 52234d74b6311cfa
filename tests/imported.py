"""Imports all commands and what servers import later; for the process that `tests.forked` forks from."""

import gc

import alembic.command
import alembic.runtime.migration
import asyncpg

import freehold.api.admin.application
import freehold.server
from freehold.cli.lazy import load
from freehold.cli.main import Commands

IMPORTED = [load(command.target) for command in Commands.lazy]
LATER = (alembic, asyncpg, freehold)
"""What is imported by those who need it, when they do."""

gc.collect()
gc.freeze()  # a process that searches for dead cycles need not copy all of this first
