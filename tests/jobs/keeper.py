"""A process that has a job's process, as a server does: `python -m tests.jobs.keeper FOLDER`; it tells and stays."""

import asyncio
import json
import sys
from pathlib import Path

from freehold.jobs.process import JobProcess
from tests.jobs.starting import PATHS


async def keep(folder: Path) -> None:
    """Start a process that starts another, say who they are, and do nothing more."""
    async with JobProcess("tests.jobs.program", ["linger"], folder, environment=PATHS) as process:
        async for message in process.messages():
            sys.stdout.write(json.dumps({**message, "leader": process.pid}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(keep(Path(sys.argv[1])))
