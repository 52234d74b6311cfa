"""The log: every event, from this program and its libraries, as one line of JSON on standard error.

The lines of requests are many, and all of the same form. They go past structlog, and are written together.
"""

import asyncio
import atexit
import logging
import os
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import orjson
import structlog

_STANDARD_ERROR: Final = 2
_QUIET: Final = ("alembic", "sqlalchemy", "aiosqlite", "asyncio", "uvicorn")
"""Libraries of which only warnings are told."""


_LINGER_S: Final = 0.05
"""How long the line of a request may wait for others."""
_MOST_WAITING: Final = 256


class RequestLines:
    """Lines of requests, which are written together.

    Args:
        logger: the name that they bear.
    """

    def __init__(self, logger: str) -> None:
        self._logger = logger
        self._waiting: list[bytes] = []
        self.worker: str | None = None
        """The name of this process, where it is one of several that take requests."""
        self.wanted = True
        """Whether the log's level lets them through."""
        atexit.register(self.flush)

    def add(self, **facts: Any) -> None:
        """Tell of a request; to be called in an event loop."""
        if not self.wanted:
            return
        if not self._waiting:
            asyncio.get_running_loop().call_later(_LINGER_S, self.flush)
        said = {**facts, "event": "request", "level": "info", "logger": self._logger, "timestamp": _now()}
        if self.worker is not None:
            said["worker"] = self.worker
        self._waiting.append(orjson.dumps(said))
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            lines, self._waiting = self._waiting, []
            _write(b"\n".join(lines))


def _now() -> str:
    """The time as structlog writes it."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat().removesuffix("+00:00") + "Z"


def _write(line: bytes) -> None:
    left = memoryview(line + b"\n")
    try:
        while left:
            left = left[os.write(_STANDARD_ERROR, left) :]
    except OSError:
        return


REQUEST_LINES: Final = RequestLines("freehold.request")


class LineLogger:
    """Writes lines to standard error. A line that cannot be written is lost, and harms nothing else.

    Args:
        name: the logger's.
    """

    __slots__ = ("name",)

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def msg(self, line: bytes) -> None:
        """Write a line, after those of requests that came before it."""
        REQUEST_LINES.flush()
        _write(line)

    debug = info = warning = error = critical = exception = msg


def configure_logging(level: str, *, worker: str | None = None) -> None:
    """Have everything from a level on be logged.

    Args:
        level: the least important that is.
        worker: the name of this process, where it is one of several that take requests.
    """
    named: list[structlog.typing.Processor] = [] if worker is None else [partial(_named, worker)]
    REQUEST_LINES.worker = worker
    REQUEST_LINES.wanted = logging.getLevelName(level.upper()) <= logging.INFO
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
