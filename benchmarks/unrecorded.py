"""A Freehold server that records no request: what the journal's cost is compared with. Not for use.

python -m benchmarks.unrecorded HOME CONFIG
"""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freehold.config import load_settings
from freehold.journal.journal import Position
from freehold.journal.records import Kind
from freehold.server import run


class Nothing:
    """Takes records and forgets them."""

    def check(self) -> None:
        """Everything may begin."""

    def submit(self, kind: Kind, body: Mapping[str, Any], *, durable: bool) -> asyncio.Future[Position]:  # noqa: ARG002
        """Done at once."""
        done: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        done.set_result(Position(0, 0, 0))
        return done


if __name__ == "__main__":
    settings = load_settings(Path(sys.argv[2]))
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0})})
    sys.exit(run(Path(sys.argv[1]), settings, announce=lambda _: None, recorder=Nothing()))
