"""A gateway of two engines, one of which ignores SIGTERM, to be killed: prints their process ids, then waits.

Run as `python -m tests.serving.trial_gateway FOLDER {asyncio|uvloop}`.
"""

import asyncio
import sys
from pathlib import Path

import structlog
import uvloop

from tests.serving.trial import PATIENCE_S, pid_of, supervised, trial


async def main() -> None:
    """Start both, say so, and wait to be killed."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    wanted = (trial("first"), trial("second", options={"ignore_sigterm": True}))
    async with supervised(Path(sys.argv[1]), *wanted) as supervisor:
        for deployment in wanted:
            await supervisor.wait_ready(deployment.name, PATIENCE_S)
        sys.stdout.write(" ".join(str(pid_of(supervisor, deployment.name)) for deployment in wanted) + "\n")
        sys.stdout.flush()
        await asyncio.sleep(600)


if __name__ == "__main__":
    (uvloop.run if sys.argv[2] == "uvloop" else asyncio.run)(main())
