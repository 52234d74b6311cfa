"""A real process that writes as fast as it can, and is killed."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journal.journals import ids_of, opened, records_of

WRITER = """
import asyncio, os, sys
from pathlib import Path
from freehold.config import JournalSettings
from freehold.journal.records import Kind
from tests.journal.journals import admitted, opened, receipt

async def requests(journal, worker):
    number = worker
    while True:
        name = f"{os.getpid()}_{number}"
        body = {"request_id": f"req_{name}"}
        await journal.submit(Kind.ADMITTED, admitted(0) | body, durable=False)
        await journal.submit(Kind.RECEIPT, receipt(0) | body, durable=True)
        os.write(1, f"req_{name}\\n".encode())
        number += 16

async def main(home):
    async with opened(home, JournalSettings(segment_bytes=64 * 1024, checkpoint_records=50)) as journal:
        await asyncio.gather(*(requests(journal, worker) for worker in range(16)))

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_what_was_acknowledged_survives_sigkill(tmp_path: Path, full_size: bool) -> None:
    """At some random places a kill -9 loses no acknowledged receipt, doubles none, and leaves nothing open."""
    random.seed(20)
    acknowledged: set[str] = set()
    times = 20 if full_size else 8
    for _ in range(times):
        acknowledged |= _run_and_kill(tmp_path, acknowledgements=random.randint(1, 400))
    asyncio.run(_reopen(tmp_path))
    records = records_of(tmp_path)
    assert len(acknowledged) > 50 * times
    finished = {
        record["body"]["request_id"]
        for record in records
        if record["kind"] == "receipt" and record["body"]["outcome"] == "finished"
    }
    assert acknowledged <= finished
    assert ids_of(records, "admitted") == ids_of(records, "receipt")
    assert sum(record["kind"] == "recovered" for record in records) == times
    assert max(record["body"]["number"] for record in records if record["kind"] == "segment") > 3


def _run_and_kill(home: Path, *, acknowledgements: int) -> set[str]:
    """The requests that a process was told are on the disk before it was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        seen: set[str] = set()
        for line in process.stdout:
            seen.add(line.strip())
            if len(seen) >= acknowledgements:
                break
        process.kill()
        seen |= {line.strip() for line in process.stdout if line.endswith("\n")}
    return {name for name in seen if name.startswith("req_")}


async def _reopen(home: Path) -> None:
    async with opened(home) as journal:
        assert journal.carried.open == {}
