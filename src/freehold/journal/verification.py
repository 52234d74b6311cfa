"""Verifying the journal while it is written: by the verifier that auditors have, in a process of its own.

One runs at a time. What the last one came to is remembered beyond the end of the server.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

import orjson
import structlog

from freehold.config import engine_environment
from freehold.errors import Conflict, FreeholdError, HomeError, Unavailable
from freehold.journal.journal import Journal
from freehold.store.database import Database
from freehold.store.deployments import get_fact, own_fact, put_fact

log = structlog.get_logger("freehold.journal")

_FACT: Final = "journal_verification"


@dataclass(frozen=True, slots=True)
class Verification:
    """One verification of a journal.

    Args:
        state: `intact` where every record is as it was written, `damaged` where one is not, `failed` where it came to
            no end.
        started_at: in seconds since the epoch, as is `finished_at`, which is None while it runs.
        reports: of each writer's log, as `freehold audit verify --json` tells them.
        problem: the first bad record, or why there is no result.
    """

    state: Literal["running", "intact", "damaged", "failed"]
    started_at: int
    finished_at: int | None = None
    reports: tuple[dict[str, Any], ...] = ()
    problem: str | None = None


class Verifier:
    """Verifies the journal of one home when it is told to.

    Args:
        journal: what is verified; everything written so far is signed first.
        folder: `HOME/journal`.
        database: where the last result is remembered.
        clock: seconds since the epoch.
    """

    def __init__(
        self, journal: Journal, folder: Path, database: Database, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._journal = journal
        self._folder = folder
        self._database = database
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.last: Verification | None = None
        """The one that runs or, where none does, the last one there was."""

    async def __aenter__(self) -> Self:
        """Remember what the last one came to."""
        found = await get_fact(self._database, own_fact(self._database, _FACT))
        if found is not None:
            self.last = Verification(**{**found, "reports": tuple(found["reports"])})
        return self

    async def __aexit__(self, *exc: object) -> None:
        """End the one that runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def begin(self) -> Verification:
        """Begin a verification; it goes on by itself, and `last` tells what comes of it.

        Raises:
            Conflict: one runs.
            AuditUnavailable: the journal cannot be written, so that its end cannot be signed.
        """
        if self._task is not None and not self._task.done():
            raise Conflict("The journal is being verified; see what comes of that.")
        self._journal.check()
        self.last = begun = Verification("running", int(self._clock()))
        self._task = asyncio.create_task(self._run(begun), name="verify the journal")
        return begun

    async def done(self) -> None:
        """Wait until none runs."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self, begun: Verification) -> None:
        ended = replace(begun, state="failed", problem="The server stopped before it came to an end.")
        try:
            await self._journal.checkpoint()
            ended = await self._result(begun)
        except OSError as exc:
            ended = replace(begun, state="failed", problem=f"The verifier cannot be started: {exc.strerror}.")
        except FreeholdError as exc:
            ended = replace(begun, state="failed", problem=exc.message)
        except (ValueError, KeyError, TypeError):
            ended = replace(begun, state="failed", problem="The verifier's answer cannot be read.")
        finally:
            self.last = replace(ended, finished_at=int(self._clock()))
            with contextlib.suppress(asyncio.CancelledError):
                await self._remember(self.last)

    async def _result(self, begun: Verification) -> Verification:
        """What the verifier finds."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "freehold.journal.verify",
            str(self._folder),
            "--json",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=engine_environment({}),
            start_new_session=True,
        )
        try:
            told, complaint = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if process.returncode not in {0, 1}:
            lines = complaint.decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"the verifier ended with {process.returncode}"
            return replace(begun, state="failed", problem=why)
        reports = tuple(orjson.loads(told))
        damage = next((report["damage"]["message"] for report in reports if report["damage"]), None)
        return replace(begun, state="damaged" if damage else "intact", reports=reports, problem=damage)

    async def _remember(self, verification: Verification) -> None:
        event = "journal.verified" if verification.state == "intact" else "journal.not_verified"
        log.info(event, state=verification.state, problem=verification.problem)
        try:
            await put_fact(self._database, own_fact(self._database, _FACT), asdict(verification))
        except (HomeError, Unavailable) as exc:
            log.warning("journal.verification_not_remembered", reason=exc.message)
