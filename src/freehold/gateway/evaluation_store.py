"""Where evaluations lie, their runs, and what became of items; all that callers wrote encrypted."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from freehold.encryption.cipher import ContentCipher
from freehold.errors import LeaseLost
from freehold.gateway.file_store import FileStore
from freehold.gateway.sealed_rows import SealedRows, tenant_of_row
from freehold.governance.retention import RetentionRegistry
from freehold.store.evaluations import EvalRow, ItemRow, RunRow, change_run, finished_items, load_run, put_items
from freehold.types.content import EVALUATIONS
from freehold.types.evaluations import EvalRequest, ItemResult, RunRequest
from freehold.types.jobs import Lease

_ITEM: Final = "outputitem_"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation, opened: as it is stored, what its caller said of it, and its name and metadata now."""

    row: EvalRow
    request: EvalRequest
    name: str
    metadata: Mapping[str, str]
    sent: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Names it."""
        return self.row.id


@dataclass(frozen=True, slots=True)
class Run:
    """A run, opened.

    Args:
        row: as it is stored.
        request: what its caller asked for.
        sent: the same as it was sent.
        origin: scheme and host under which the caller reached the server.
        defaults: how the model is sampled where the run does not say, as its deployment was when the run was made.
        plan: the ids of the stored completions that it is about.
        problem: why it failed; empty where it did not.
    """

    row: RunRow
    request: RunRequest
    sent: Mapping[str, Any]
    origin: str
    defaults: Mapping[str, float]
    plan: tuple[str, ...] = ()
    problem: Mapping[str, str] | None = None

    @property
    def id(self) -> str:
        """Names it."""
        return self.row.id


class EvaluationStore(SealedRows):
    """The evaluations of one home.

    Every method may raise what `SealedRows` says; those that take a lease also LeaseLost, where it is lost or the
    run is gone.

    Args:
        files: where files of items lie.
        cipher: encrypts.
        retention: how long evaluations are kept.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        files: FileStore,
        cipher: ContentCipher,
        retention: RetentionRegistry,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(files, cipher, retention, EVALUATIONS, clock=clock)

    async def opened(self, row: EvalRow) -> Evaluation:
        """An evaluation as it is known to callers."""
        header = await self.open(row, "header", row.header)
        request = EvalRequest.model_validate(header["sent"])
        return Evaluation(row, request, header["name"], header["metadata"], header["sent"])

    async def opened_run(self, row: RunRow) -> Run:
        """A run as it is known to callers."""
        header = await self.open(row, "header", row.header)
        plan = await self.open(row, "plan", row.plan) if row.plan else ()
        problem = await self.open(row, "problem", row.problem) if row.problem else None
        request = RunRequest.model_validate(header["sent"])
        return Run(row, request, header["sent"], header["origin"], header["defaults"], tuple(plan), problem)

    async def load(self, run_id: str) -> tuple[Evaluation, Run] | None:
        """A run and its evaluation, for whoever works on it; None if one is gone."""
        found = await load_run(self.database, run_id, self.clock())
        return None if found is None else (await self.opened(found[0]), await self.opened_run(found[1]))

    async def change(self, lease: Lease, run: Run, **columns: Any) -> bool:
        """Change columns of a run; whether it is to end soon."""
        return _held(await change_run(self.database, lease, self.now_ms(), run.id, columns), run)

    async def sealed_part(self, run: Run, what: str, value: Any) -> bytes:
        """A part of a run as it is stored."""
        return await self.seal(tenant_of_row(run.row), run.id, what, value)

    async def finished(self, run: Run) -> set[int]:
        """The numbers of the items that are done."""
        return await finished_items(self.database, run.id)

    async def put(self, lease: Lease, run: Run, results: Sequence[ItemResult]) -> bool:
        """Write what became of items; whether the run is to end soon."""
        rows = [(each, await self.sealed_part(run, str(each.number), each.content)) for each in results]
        return _held(await put_items(self.database, lease, self.now_ms(), run.row, rows), run)

    async def item(self, run: RunRow, row: ItemRow) -> dict[str, Any]:
        """The content of an item."""
        found: dict[str, Any] = await self.open(run, str(row.number), row.content)
        return found


def item_id(run_id: str, number: int) -> str:
    """The id of what became of an item."""
    return f"{_ITEM}{run_id.removeprefix('evalrun_')}{number:08x}"


def item_number(run_id: str, named: str) -> int | None:
    """The number of the item of a run that an id names; None if it is none of it."""
    head = f"{_ITEM}{run_id.removeprefix('evalrun_')}"
    tail = named.removeprefix(head)
    if not named.startswith(head) or len(tail) != 8 or any(digit not in "0123456789abcdef" for digit in tail):
        return None
    return int(tail, 16)


def _held(stopping: bool | None, run: Run) -> bool:
    if stopping is None:
        raise LeaseLost(f"The run '{run.id}' is gone, or somebody else works on it.")
    return stopping
