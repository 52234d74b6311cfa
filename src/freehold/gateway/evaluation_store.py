"""Where evaluations lie, their runs, and what became of items; all that callers wrote encrypted."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from freehold.encryption.cipher import ContentCipher
from freehold.errors import LeaseLost
from freehold.gateway.file_store import FileStore
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.evaluations import EvalRow, ItemRow, RunRow, change_run, finished_items, load_run, put_items
from freehold.types.content import EVALUATIONS, Tenant
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


class EvaluationStore:
    """The evaluations of one home.

    Every method may raise ContentUnreadable, ProjectKeyRevoked or KeyServiceUnavailable where content cannot be
    encrypted or decrypted, and HomeError where the database cannot be used; those that take a lease also LeaseLost,
    where it is lost or the run is gone.

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
        self.database: Database = files.database
        self.retention = retention
        self.clock = clock
        self._cipher = cipher

    def now_s(self) -> int:
        """The time, in whole seconds since the epoch."""
        return math.floor(self.clock())

    async def seal(self, tenant: Tenant, row_id: str, what: str, value: Any) -> bytes:
        """A part of an evaluation or a run as it is stored."""
        return await self._cipher.seal(tenant, EVALUATIONS.name, f"{row_id}/{what}", orjson.dumps(value))

    async def _open(self, row: EvalRow | RunRow, what: str, sealed: bytes) -> Any:
        return orjson.loads(await self._cipher.open(tenant_of_row(row), EVALUATIONS.name, f"{row.id}/{what}", sealed))

    async def opened(self, row: EvalRow) -> Evaluation:
        """An evaluation as it is known to callers."""
        header = await self._open(row, "header", row.header)
        request = EvalRequest.model_validate(header["sent"])
        return Evaluation(row, request, header["name"], header["metadata"], header["sent"])

    async def opened_run(self, row: RunRow) -> Run:
        """A run as it is known to callers."""
        header = await self._open(row, "header", row.header)
        plan = await self._open(row, "plan", row.plan) if row.plan else ()
        problem = await self._open(row, "problem", row.problem) if row.problem else None
        request = RunRequest.model_validate(header["sent"])
        return Run(row, request, header["sent"], header["origin"], header["defaults"], tuple(plan), problem)

    async def load(self, run_id: str) -> tuple[Evaluation, Run] | None:
        """A run and its evaluation, for whoever works on it; None if one is gone."""
        found = await load_run(self.database, run_id, self.clock())
        return None if found is None else (await self.opened(found[0]), await self.opened_run(found[1]))

    async def change(self, lease: Lease, run: Run, **columns: Any) -> bool:
        """Change columns of a run; whether it is to end soon."""
        now_ms = int(self.clock() * 1000)
        return _held(await change_run(self.database, lease, now_ms, run.id, columns), run)

    async def sealed_part(self, run: Run, what: str, value: Any) -> bytes:
        """A part of a run as it is stored."""
        return await self.seal(tenant_of_row(run.row), run.id, what, value)

    async def finished(self, run: Run) -> set[int]:
        """The numbers of the items that are done."""
        return await finished_items(self.database, run.id)

    async def put(self, lease: Lease, run: Run, results: Sequence[ItemResult]) -> bool:
        """Write what became of items; whether the run is to end soon."""
        rows = [(each, await self.sealed_part(run, str(each.number), each.content)) for each in results]
        now_ms = int(self.clock() * 1000)
        return _held(await put_items(self.database, lease, now_ms, run.row, rows), run)

    async def item(self, run: RunRow, row: ItemRow) -> dict[str, Any]:
        """The content of an item."""
        found: dict[str, Any] = await self._open(run, str(row.number), row.content)
        return found


class ItemLog:
    """Writes what becomes of items: those that end while others are being written are written together.

    Args:
        store: where the run lies.
        run: whose items.
        lease: of its job.
    """

    def __init__(self, store: EvaluationStore, run: Run, lease: Lease) -> None:
        self._store = store
        self._run = run
        self._lease = lease
        self._waiting: list[ItemResult] = []
        self._writing = asyncio.Lock()

    async def put(self, result: ItemResult) -> bool:
        """Write a result; it is on the disk when this returns. Result and errors as `EvaluationStore.put`."""
        self._waiting.append(result)
        async with self._writing:
            if result not in self._waiting:
                return False
            together = self._waiting[:]
            stopping = await self._store.put(self._lease, self._run, together)
            del self._waiting[: len(together)]
            return stopping


def tenant_of_row(row: EvalRow | RunRow) -> Tenant:
    """Whose it is."""
    return Tenant(row.organization_id, row.project_id, row.owner_id)


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
