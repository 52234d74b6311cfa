"""Evaluations and their runs: made, looked at, listed, cancelled and deleted. `evaluation_work` works on runs.

What a person makes is that person's alone, what a service account makes belongs to its project, as with batches.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from freehold.catalog.deployments import Deployment
from freehold.errors import Conflict, InvalidRequest, NotFound
from freehold.gateway.evaluation_sources import check_source, schema_of
from freehold.gateway.evaluation_store import (
    Evaluation,
    EvaluationStore,
    Run,
    item_number,
)
from freehold.gateway.evaluation_subject import counted_model, defaults_of, model_of
from freehold.gateway.files import Files
from freehold.gateway.grading import check_grader, check_messages
from freehold.gateway.sealed_rows import tenant_of_row
from freehold.gateway.templates import check_template
from freehold.governance.authorization import require
from freehold.jobs.queue import JobQueue
from freehold.store.evaluations import (
    EvalRow,
    ItemRow,
    RunRow,
    add_eval,
    add_run,
    cancel_run,
    change_eval,
    delete_eval,
    delete_run,
    get_eval,
    get_run,
    get_run_item,
    list_evals,
    list_run_items,
    list_runs,
)
from freehold.store.kept_items import Page, Reader
from freehold.types.content import EVALUATIONS, tenant_of
from freehold.types.evaluations import (
    EVAL_JOB,
    RUN_ENDED,
    CustomConfig,
    EvalRequest,
    EvaluationsSettings,
    EvalUpdate,
    FileId,
    JsonlSource,
    RunRequest,
    RunStatus,
    TemplateInput,
)
from freehold.types.files import Purpose
from freehold.types.graders import LabelModel, Multi, ScoreModel
from freehold.types.identity import Action, MemberKind, Principal
from freehold.types.ids import new_id

RESOURCE: Final = "evals"


@dataclass(frozen=True, slots=True)
class Order:
    """A run that is to be made.

    Args:
        request: what is asked.
        sent: the same as it was sent.
        origin: scheme and host under which the caller reaches the server.
        subject: the deployment that is asked; None where none is.
    """

    request: RunRequest
    sent: Mapping[str, Any]
    origin: str
    subject: Deployment | None


class Evaluations:
    """The evaluations of one home.

    Every method may raise Forbidden where the caller may not; ContentUnreadable, ProjectKeyRevoked or
    KeyServiceUnavailable where content cannot be encrypted or decrypted; and HomeError where the database cannot be
    used. Those that take an id raise NotFound where there is none for the caller.

    Args:
        store: where they lie.
        files: the files of projects.
        queue: has runs worked on.
        settings: what they ask beside the models that their callers name.
    """

    def __init__(self, store: EvaluationStore, files: Files, queue: JobQueue, settings: EvaluationsSettings) -> None:
        self.store = store
        self.settings = settings
        self._files = files
        self._queue = queue

    async def create(self, principal: Principal, request: EvalRequest, sent: Mapping[str, Any]) -> Evaluation:
        """Keep an evaluation.

        Raises:
            InvalidRequest: it cannot be run; names the field.
            ZeroRetention: nothing is kept for the project.
        """
        require(principal, Action.WRITE_FILES, RESOURCE)
        tenant, store = tenant_of(principal), self.store
        store.retention.check_keeping(tenant.organization_id, tenant.project_id, "testing_criteria")
        if isinstance(request.data_source_config, CustomConfig):
            await asyncio.to_thread(schema_of, request.data_source_config)
        for index, criterion in enumerate(request.criteria):
            check_grader(criterion, f"testing_criteria[{index}]")
        eval_id, now = new_id("eval_"), store.now_s()
        header = {"name": request.name or eval_id, "metadata": request.metadata or {}, "sent": dict(sent)}
        row = EvalRow(
            id=eval_id,
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            owner_id=tenant.owner_id,
            private=principal.kind is MemberKind.USER,
            header=await store.seal(tenant, eval_id, "header", header),
            updated_at=now,
            created_at=now,
            expires_at=now + store.retention.keep_s(tenant.organization_id, tenant.project_id, EVALUATIONS),
        )
        await add_eval(store.database, row)
        return await store.opened(row)

    async def get(self, principal: Principal, eval_id: str) -> Evaluation:
        """One evaluation."""
        require(principal, Action.READ_FILES, f"{RESOURCE}/{eval_id[:64]}")
        return await self.store.opened(await self._row(principal, eval_id))

    async def find(self, principal: Principal, page: Page, *, by_update: bool) -> tuple[list[Evaluation], bool]:
        """Evaluations that the caller may see, and whether there are more of them."""
        require(principal, Action.READ_FILES, RESOURCE)
        asked = Page(page.limit + 1, page.newest_first, page.after)
        rows = await list_evals(self.store.database, self._reader(principal), asked, by_update=by_update)
        return [await self.store.opened(row) for row in rows[: page.limit]], len(rows) > page.limit

    async def update(self, principal: Principal, eval_id: str, change: EvalUpdate) -> Evaluation:
        """Give an evaluation another name or other metadata; what it is then."""
        require(principal, Action.WRITE_FILES, f"{RESOURCE}/{eval_id[:64]}")
        found = await self.store.opened(await self._row(principal, eval_id))
        header = {
            "name": change.name or found.name,
            "metadata": found.metadata if change.metadata is None else change.metadata,
            "sent": found.sent,
        }
        sealed = await self.store.seal(tenant_of_row(found.row), eval_id, "header", header)
        if not await change_eval(self.store.database, found.row, sealed, self.store.now_s()):
            raise _absent(eval_id)
        return await self.get(principal, eval_id)

    async def delete(self, principal: Principal, eval_id: str) -> None:
        """Remove an evaluation with its runs; those at work end."""
        require(principal, Action.WRITE_FILES, f"{RESOURCE}/{eval_id[:64]}")
        row = await self._row(principal, eval_id)
        if not await delete_eval(self.store.database, row, self.store.now_s()):
            raise _absent(eval_id)
        self._queue.announce()

    async def create_run(self, principal: Principal, eval_id: str, order: Order) -> tuple[Evaluation, Run]:
        """Have an evaluation run.

        Raises:
            InvalidRequest: it cannot be; names the field.
            NotFound: there is no such evaluation, or no such file.
            ZeroRetention: nothing is kept for the project.
        """
        for action in (Action.INFER, Action.READ_FILES, Action.WRITE_FILES):
            require(principal, action, f"{RESOURCE}/{eval_id[:64]}/runs")
        tenant, store = tenant_of(principal), self.store
        store.retention.check_keeping(tenant.organization_id, tenant.project_id, "data_source")
        evaluation = await store.opened(await self._row(principal, eval_id))
        await self._check_order(principal, order.request)
        row = await self._begun(principal, evaluation, order)
        run = Run(row, order.request, order.sent, order.origin, defaults_of(order.subject))
        await asyncio.to_thread(check_source, evaluation, run)
        job = self._queue.new(
            EVAL_JOB,
            {"eval_run": row.id},
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            owner_id=tenant.owner_id,
            subject=row.id,
            private=row.private,
        )
        row = replace(row, job_id=job.id)
        async with self._queue.room(job):
            await add_run(store.database, row, job)
        return evaluation, replace(run, row=row)

    async def _begun(self, principal: Principal, evaluation: Evaluation, order: Order) -> RunRow:
        """The row of a new run, without its job."""
        tenant, store, run_id = tenant_of(principal), self.store, new_id("evalrun_")
        now, subject = store.now_s(), order.subject
        header = {"sent": dict(order.sent), "origin": order.origin, "defaults": defaults_of(subject)}
        return RunRow(
            id=run_id,
            eval_id=evaluation.id,
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            owner_id=tenant.owner_id,
            private=principal.kind is MemberKind.USER,
            job_id="",
            key_id=principal.key_id,
            auth_method=principal.auth_method,
            status=RunStatus.QUEUED,
            header=await store.seal(tenant, run_id, "header", header),
            created_at=now,
            expires_at=now + store.retention.keep_s(tenant.organization_id, tenant.project_id, EVALUATIONS),
            model=model_of(order.request),
            deployment="" if subject is None else subject.name,
            catalog_model=counted_model(principal, order.request, subject),
            tally=[[0, 0] for _ in evaluation.request.criteria],
        )

    async def _check_order(self, principal: Principal, request: RunRequest) -> None:
        """Return if a run can be begun, as far as that can be said beforehand."""
        source = request.data_source
        if isinstance(source.source, FileId):
            param = "data_source.source.id"
            try:
                file = await self._files.get(principal, source.source.id)
            except NotFound as exc:
                raise NotFound(exc.message, param=param) from exc
            if file.purpose is not Purpose.EVALS:
                raise InvalidRequest(
                    f"The file was uploaded for '{file.purpose.value}'; a run needs one whose purpose is 'evals'.",
                    param=param,
                    code="invalid_file_purpose",
                )
        if isinstance(source, JsonlSource):
            return
        if isinstance(source.input_messages, TemplateInput):
            check_messages(source.input_messages.template, "data_source.input_messages.template")
        elif source.input_messages is not None:
            reference = source.input_messages.item_reference
            check_template("{{ " + reference + " }}" if "{{" not in reference else reference, "item_reference")

    async def get_run(self, principal: Principal, eval_id: str, run_id: str) -> tuple[Evaluation, Run]:
        """A run, and its evaluation."""
        require(principal, Action.READ_FILES, f"{RESOURCE}/{eval_id[:64]}/runs/{run_id[:64]}")
        row = await self._run_row(principal, eval_id, run_id)
        evaluation = await self.store.opened(await self._row(principal, eval_id))
        return evaluation, await self.store.opened_run(row)

    async def list_runs(
        self, principal: Principal, eval_id: str, page: Page, status: str | None
    ) -> tuple[Evaluation, list[Run], bool]:
        """The runs of an evaluation that the caller may see, and whether there are more of them."""
        require(principal, Action.READ_FILES, f"{RESOURCE}/{eval_id[:64]}/runs")
        evaluation = await self.store.opened(await self._row(principal, eval_id))
        asked = Page(page.limit + 1, page.newest_first, page.after)
        rows = await list_runs(self.store.database, self._reader(principal), eval_id, asked, status)
        return evaluation, [await self.store.opened_run(row) for row in rows[: page.limit]], len(rows) > page.limit

    async def cancel_run(self, principal: Principal, eval_id: str, run_id: str) -> tuple[Evaluation, Run]:
        """Have a run end soon, and what it looks like then.

        Raises:
            Conflict: it has ended.
        """
        require(principal, Action.WRITE_FILES, f"{RESOURCE}/{eval_id[:64]}/runs/{run_id[:64]}")
        row = await self._run_row(principal, eval_id, run_id)
        if row.status in RUN_ENDED and row.status != RunStatus.CANCELED:
            raise Conflict(f"Cannot cancel a run with status '{row.status}'.")
        await cancel_run(self.store.database, row, self.store.now_s())
        self._queue.announce()
        return await self.get_run(principal, eval_id, run_id)

    async def cancel(self, principal: Principal, run_id: str) -> None:
        """Have a run end soon. Raises: as `cancel_run`."""
        await self.cancel_run(principal, (await self._changeable(principal, run_id)).eval_id, run_id)

    async def pause(self, principal: Principal, run_id: str) -> None:
        """Have no item of a run begun until it is resumed.

        Raises:
            Conflict: it has ended.
        """
        row = await self._changeable(principal, run_id)
        if row.status in RUN_ENDED:
            raise Conflict(f"Cannot pause a run with status '{row.status}'.")
        await self._queue.pause(row.job_id)

    async def resume(self, principal: Principal, run_id: str) -> None:
        """Let a run go on that was paused.

        Raises:
            Conflict: it is not paused.
        """
        await self._queue.resume((await self._changeable(principal, run_id)).job_id)

    async def _changeable(self, principal: Principal, run_id: str) -> RunRow:
        """A run that the caller may change."""
        require(principal, Action.WRITE_FILES, f"runs/{run_id[:64]}")
        row = await get_run(self.store.database, self._reader(principal), None, run_id)
        if row is None:
            raise _absent_run(run_id)
        return row

    async def delete_run(self, principal: Principal, eval_id: str, run_id: str) -> None:
        """Remove a run with its items; one at work ends."""
        require(principal, Action.WRITE_FILES, f"{RESOURCE}/{eval_id[:64]}/runs/{run_id[:64]}")
        row = await self._run_row(principal, eval_id, run_id)
        if not await delete_run(self.store.database, row, self.store.now_s()):
            raise _absent_run(run_id)
        self._queue.announce()

    async def list_items(
        self, principal: Principal, where: tuple[str, str], page: Page, status: str | None
    ) -> tuple[list[tuple[ItemRow, dict[str, Any]]], bool]:
        """What became of items, and whether there are more of them.

        Raises:
            InvalidRequest: the run has no item `page.after`.
        """
        eval_id, run_id = where
        require(principal, Action.READ_FILES, f"{RESOURCE}/{eval_id[:64]}/runs/{run_id[:64]}")
        run = await self._run_row(principal, eval_id, run_id)
        after = None if page.after is None else item_number(run_id, page.after)
        if page.after is not None and after is None:
            raise InvalidRequest(f"The run has no output item '{page.after[:64]}'.", param="after")
        asked = Page(page.limit + 1, page.newest_first)
        rows = await list_run_items(self.store.database, run_id, after=after, page=asked, status=status)
        found = [(row, await self.store.item(run, row)) for row in rows[: page.limit]]
        return found, len(rows) > page.limit

    async def get_item(
        self, principal: Principal, eval_id: str, run_id: str, named: str
    ) -> tuple[ItemRow, dict[str, Any]]:
        """What became of one item."""
        require(principal, Action.READ_FILES, f"{RESOURCE}/{eval_id[:64]}/runs/{run_id[:64]}")
        run = await self._run_row(principal, eval_id, run_id)
        number = item_number(run_id, named)
        row = None if number is None else await get_run_item(self.store.database, run_id, number)
        if row is None:
            raise NotFound(f"No output item found with id '{named[:64]}'.", param="output_item_id")
        return row, await self.store.item(run, row)

    async def _row(self, principal: Principal, eval_id: str) -> EvalRow:
        row = await get_eval(self.store.database, self._reader(principal), eval_id)
        if row is None:
            raise _absent(eval_id)
        return row

    async def _run_row(self, principal: Principal, eval_id: str, run_id: str) -> RunRow:
        await self._row(principal, eval_id)
        row = await get_run(self.store.database, self._reader(principal), eval_id, run_id)
        if row is None:
            raise _absent_run(run_id)
        return row

    def _reader(self, principal: Principal) -> Reader:
        return Reader(principal.organization_id, principal.project_id, principal.id, self.store.clock())


def judges_of(evaluation: Evaluation) -> set[str]:
    """The models that judge in an evaluation."""
    flat = [
        part
        for criterion in evaluation.request.criteria
        for part in (criterion.members.values() if isinstance(criterion, Multi) else [criterion])
    ]
    return {part.model for part in flat if isinstance(part, ScoreModel | LabelModel)}


def _absent(eval_id: str) -> NotFound:
    return NotFound(f"No eval found with id '{eval_id[:64]}'.", param="eval_id")


def _absent_run(run_id: str) -> NotFound:
    return NotFound(f"No run found with id '{run_id[:64]}'.", param="run_id")
