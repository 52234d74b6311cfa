"""A job that runs, as whoever submitted it sees it: all its processes together, what the first says, how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Final

from freehold.cluster.base import JobOrder, JobPhase, JobStatus
from freehold.cluster.member import REFUSED, Running
from freehold.cluster.process import described
from freehold.errors import Conflict, NotFound

SAID: Final = "said.txt"
"""The file in a job's folder that has what its first process said on standard output since it was submitted last."""
_CHUNK: Final = 1 << 16
_PATIENCE_S: Final = 30.0
"""How long the other processes of a job may take to end by themselves after one ended badly."""


class Said:
    """Lines that one writes and any number read, from the first on, until the end; they lie in a file.

    Args:
        path: the file; what was in it is gone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = FileIO(path, "w")
        self._more = asyncio.Event()

    def take(self, line: str) -> None:
        """Add a line."""
        if not self._file.closed:
            self._file.write(line.encode() + b"\n")
            self._wake()

    def end(self) -> None:
        """Say that no more lines come."""
        self._file.close()
        self._wake()

    async def lines(self) -> AsyncIterator[str]:
        """All lines, as they come."""
        rest = b""
        with closing(FileIO(self._path)) as file:
            while True:
                more, ended = self._more, self._file.closed
                while piece := file.read(_CHUNK):
                    *whole, rest = (rest + piece).split(b"\n")
                    for line in whole:
                        yield line.decode()
                if ended:
                    return
                await more.wait()

    def _wake(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()


class Job:
    """A job and its processes; it ends as soon as all of them have, and they do when one ends badly.

    Args:
        order: what was ordered.
        said: takes what the first process says.
    """

    def __init__(self, order: JobOrder, said: Said) -> None:
        self.order = order
        self.status = JobStatus(JobPhase.PENDING)
        self._said = said
        self._cancelled = False
        self._culprit: int | None = None
        """The number of the process that was the first to end badly."""
        self._members: Sequence[Running] = ()
        self._task: asyncio.Task[None] | None = None

    def run(self, members: Sequence[Running], on_end: Callable[[], None]) -> None:
        """Watch over its processes, the first of them the one of rank 0; `on_end` is called when all have ended."""
        self._members = members
        self.status = JobStatus(JobPhase.RUNNING)
        self._task = asyncio.create_task(self._watch(on_end), name=f"job {self.order.id}")

    def give_up(self) -> None:
        """Have it never run."""
        self._said.end()

    @property
    def running(self) -> bool:
        """Whether any of its processes may run."""
        return self.status.phase in {JobPhase.PENDING, JobPhase.RUNNING}

    def hear(self, line: str) -> None:
        """Take a line that its first process says."""
        self._said.take(line)

    def lines(self) -> AsyncIterator[str]:
        """See `Cluster.logs`."""
        return self._said.lines()

    async def tell(self, line: str) -> None:
        """See `Cluster.tell`."""
        if self._members:
            await self._members[0].tell(line)

    async def cancel(self, grace_s: float) -> None:
        """See `Cluster.cancel`."""
        if self._task is None or self._task.done():
            return
        self._cancelled = True
        await _ended(self._members, grace_s)
        await asyncio.wait({self._task})

    async def _watch(self, on_end: Callable[[], None]) -> None:
        left = {member.exited for member in self._members}
        try:
            while left:
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                bad = [rank for rank, each in enumerate(self._members) if each.exited in done and each.exited.result()]
                if bad and self._culprit is None:
                    self._culprit = next(
                        (rank for rank in bad if self._members[rank].exited.result() == REFUSED), bad[0]
                    )
                if bad and left and not self._cancelled:
                    self.status = JobStatus(JobPhase.RUNNING, "a process ended badly; the others are ended")
                    await _ended(self._members, _PATIENCE_S)
        finally:
            self.status = self._outcome()
            self._said.end()
            on_end()

    def _outcome(self) -> JobStatus:
        """How it ended."""
        lost = any(member.unheard for member in self._members)
        if self._cancelled:
            return JobStatus(JobPhase.CANCELLED, lost=lost)
        if self._culprit is None:
            return JobStatus(JobPhase.SUCCEEDED)
        member = self._members[self._culprit]
        code = member.exited.result()
        how = described(code).replace("the engine", f"process {self._culprit} of {len(self._members)}")
        return JobStatus(JobPhase.FAILED, f"{how}: {member.complaint or 'it said nothing'}", code, lost)


class Jobs:
    """The jobs that were submitted from here, by their ids."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def refuse_running(self, job_id: str) -> None:
        """Conflict if a job of that id runs."""
        before = self._jobs.get(job_id)
        if before is not None and before.running:
            raise Conflict(f"The job '{job_id}' runs already.")

    def begin(self, order: JobOrder) -> Job:
        """A new job, which runs not yet."""
        order.folder.mkdir(parents=True, exist_ok=True)
        job = self._jobs[order.id] = Job(order, Said(order.folder / SAID))
        return job

    def forget(self, job: Job) -> None:
        """Take back a job that could not be started."""
        job.give_up()
        del self._jobs[job.order.id]

    def get(self, job_id: str) -> Job:
        """The job of that id.

        Raises:
            NotFound: there is none.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise NotFound(f"No job '{job_id}' was submitted from here since the start.")
        return job

    async def close(self, grace_s: float) -> None:
        """End all that run."""
        await asyncio.gather(*(job.cancel(grace_s) for job in self._jobs.values()))


async def _ended(members: Sequence[Running], grace_s: float) -> None:
    """Have processes end: asked first, killed after that time."""
    await asyncio.gather(*(member.ask() for member in members))
    await asyncio.wait([member.exited for member in members], timeout=grace_s)
    await asyncio.gather(*(member.kill() for member in members if not member.exited.done()))
