"""The log: every event, from this program and its libraries, as one line of JSON on standard error."""

import logging
import os
import sys
from functools import partial
from typing import Any, Final

import orjson
import structlog

_STANDARD_ERROR: Final = 2
_QUIET: Final = ("alembic", "sqlalchemy", "aiosqlite", "asyncio", "uvicorn")
"""Libraries of which only warnings are told."""


class LineLogger:
    """Writes lines to standard error. A line that cannot be written is lost, and harms nothing else.

    Args:
        name: the logger's.
    """

    __slots__ = ("name",)

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def msg(self, line: bytes) -> None:
        """Write a line."""
        left = memoryview(line + b"\n")
        try:
            while left:
                left = left[os.write(_STANDARD_ERROR, left) :]
        except OSError:
            return

    debug = info = warning = error = critical = exception = msg


def configure_logging(level: str, *, worker: str | None = None) -> None:
    """Have everything from a level on be logged.

    Args:
        level: the least important that is.
        worker: the name of this process, where it is one of several that take requests.
    """
    named: list[structlog.typing.Processor] = [] if worker is None else [partial(_named, worker)]
    shared: list[structlog.typing.Processor] = [
        *named,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(_dumps)],
        logger_factory=LineLogger,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(lambda event, **options: _dumps(event, **options).decode()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _named(worker: str, _logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["worker"] = worker
    return event


def _dumps(event: Any, **_options: Any) -> bytes:
    """An event as JSON; what JSON has not is written as its text."""
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS)
