"""`/evals`: make, look at, run and delete evaluations, and see what became of each item."""

from collections.abc import Mapping
from typing import Any, Final

from freehold.api.body import parse
from freehold.api.graders import usage_of
from freehold.api.paging import page_of
from freehold.api.reply import Call, Created, Handler, Reply
from freehold.errors import InvalidRequest
from freehold.gateway.evaluation_results import EvaluationResults
from freehold.gateway.evaluation_sources import schema_object
from freehold.gateway.evaluation_store import Evaluation, Run, item_id
from freehold.gateway.evaluations import Order, judges_of
from freehold.store.evaluations import ItemRow
from freehold.store.kept_items import Page
from freehold.types.evaluations import (
    EvalRequest,
    EvalUpdate,
    ItemStatus,
    JsonlSource,
    ModelUsage,
    RunRequest,
    RunStatus,
    StoredConfig,
)
from freehold.types.generation import Usage

_MOST: Final = 100


async def create_eval(call: Call) -> Reply:
    """Keep an evaluation."""
    request = parse(EvalRequest, call.body)
    made = await call.gateway.content.evaluations.create(call.principal, request, call.body)
    call.account.parameters = {"eval": made.id}
    return Created(eval_object(made))


async def list_evals(call: Call) -> Reply:
    """The evaluations that the caller may see, page by page."""
    order_by = call.query.get("order_by", "created_at")
    if order_by not in {"created_at", "updated_at"}:
        raise InvalidRequest("'order_by' must be 'created_at' or 'updated_at'.", param="order_by")
    page, by_update = _page(call.query), order_by == "updated_at"
    found, more = await call.gateway.content.evaluations.find(call.principal, page, by_update=by_update)
    return _listed([eval_object(each) for each in found], more=more)


async def retrieve_eval(call: Call) -> Reply:
    """One evaluation."""
    return eval_object(await call.gateway.content.evaluations.get(call.principal, call.path["eval_id"]))


async def update_eval(call: Call) -> Reply:
    """Give an evaluation another name, or other metadata."""
    change = parse(EvalUpdate, call.body)
    return eval_object(await call.gateway.content.evaluations.update(call.principal, call.path["eval_id"], change))


async def delete_eval(call: Call) -> Reply:
    """Remove an evaluation with its runs."""
    eval_id = call.path["eval_id"]
    await call.gateway.content.evaluations.delete(call.principal, eval_id)
    return {"object": "eval.deleted", "deleted": True, "eval_id": eval_id}


async def create_run(call: Call) -> Reply:
    """Have an evaluation run."""
    request, gateway, eval_id = parse(RunRequest, call.body), call.gateway, call.path["eval_id"]
    evaluation = await gateway.content.evaluations.get(call.principal, eval_id)
    for judge in judges_of(evaluation):
        gateway.model(call.principal, judge)
    source = request.data_source
    named = (request.metadata or {}).get("model") if isinstance(source, JsonlSource) else source.model
    subject = None if named is None else gateway.model(call.principal, named)
    order = Order(request, call.body, call.origin, subject)
    made = await gateway.content.evaluations.create_run(call.principal, eval_id, order)
    call.account.parameters = {"eval": eval_id, "eval_run": made[1].id}
    return Created(run_object(*made))


async def list_runs(call: Call) -> Reply:
    """The runs of an evaluation that the caller may see, page by page."""
    status = call.query.get("status")
    if status is not None and status not in set(RunStatus):
        raise InvalidRequest(f"'status' must be one of {', '.join(RunStatus)}.", param="status")
    page = _page(call.query)
    evaluation, runs, more = await call.gateway.content.evaluations.list_runs(
        call.principal, call.path["eval_id"], page, status
    )
    return _listed([run_object(evaluation, run) for run in runs], more=more)


async def retrieve_run(call: Call) -> Reply:
    """One run."""
    return run_object(*await call.gateway.content.evaluations.get_run(call.principal, *_where(call)))


async def cancel_run(call: Call) -> Reply:
    """Have a run end soon."""
    return run_object(*await call.gateway.content.evaluations.cancel_run(call.principal, *_where(call)))


async def delete_run(call: Call) -> Reply:
    """Remove a run with its items."""
    eval_id, run_id = _where(call)
    await call.gateway.content.evaluations.delete_run(call.principal, eval_id, run_id)
    return {"object": "eval.run.deleted", "deleted": True, "run_id": run_id}


async def report_run(call: Call) -> Reply:
    """What a run has come to: means with intervals and, with `against`, how it differs from another run."""
    eval_id, run_id = _where(call)
    service = call.gateway.content.evaluations
    evaluation, run = await service.get_run(call.principal, eval_id, run_id)
    results = EvaluationResults(service.store)
    names = [criterion.name for criterion in evaluation.request.criteria]
    told = {**run_object(evaluation, run), "object": "eval.run.report", **await results.report(names, run_id)}
    told.pop("data_source")
    against = call.query.get("against")
    if against is not None:
        await service.get_run(call.principal, eval_id, against)
        told["comparison"] = {"against": against, **(await results.comparison(names, run_id, against) or {"items": 0})}
    return told


async def list_items(call: Call) -> Reply:
    """What became of the items of a run, page by page."""
    status = call.query.get("status")
    if status is not None and status not in set(ItemStatus):
        raise InvalidRequest(f"'status' must be one of {', '.join(ItemStatus)}.", param="status")
    where = _where(call)
    found, more = await call.gateway.content.evaluations.list_items(call.principal, where, _page(call.query), status)
    return _listed([item_object(*where, row, content) for row, content in found], more=more)


async def retrieve_item(call: Call) -> Reply:
    """What became of one item."""
    where, named = _where(call), call.path["output_item_id"]
    return item_object(*where, *await call.gateway.content.evaluations.get_item(call.principal, *where, named))


OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "evals", create_eval),
    ("GET", "evals", list_evals),
    ("GET", "evals/{eval_id}", retrieve_eval),
    ("POST", "evals/{eval_id}", update_eval),
    ("DELETE", "evals/{eval_id}", delete_eval),
    ("POST", "evals/{eval_id}/runs", create_run),
    ("GET", "evals/{eval_id}/runs", list_runs),
    ("GET", "evals/{eval_id}/runs/{run_id}", retrieve_run),
    ("POST", "evals/{eval_id}/runs/{run_id}", cancel_run),
    ("POST", "evals/{eval_id}/runs/{run_id}/cancel", cancel_run),
    ("DELETE", "evals/{eval_id}/runs/{run_id}", delete_run),
    ("GET", "evals/{eval_id}/runs/{run_id}/report", report_run),
    ("GET", "evals/{eval_id}/runs/{run_id}/output_items", list_items),
    ("GET", "evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}", retrieve_item),
)
"""Method, path and handler of each. OpenAI's clients cancel at a path of its own, which its specification lacks."""


def eval_object(found: Evaluation) -> dict[str, Any]:
    """An evaluation as OpenAI writes it."""
    config = found.request.data_source_config
    told: dict[str, Any] = {"type": config.type, "schema": schema_object(found)}
    if isinstance(config, StoredConfig):
        told["metadata"] = config.metadata or {}
    return {
        "object": "eval",
        "id": found.id,
        "name": found.name,
        "data_source_config": told,
        "testing_criteria": found.sent["testing_criteria"],
        "created_at": found.row.created_at,
        "metadata": found.metadata,
    }


def run_object(evaluation: Evaluation, run: Run) -> dict[str, Any]:
    """A run as OpenAI writes it."""
    row = run.row
    names = [criterion.name for criterion in evaluation.request.criteria]
    return {
        "object": "eval.run",
        "id": row.id,
        "eval_id": row.eval_id,
        "status": row.status,
        "model": row.model,
        "name": run.request.name or row.id,
        "created_at": row.created_at,
        "report_url": f"{run.origin}/v1/evals/{row.eval_id}/runs/{row.id}/report",
        "result_counts": {
            "total": row.total,
            "errored": row.errored,
            "failed": row.failed,
            "passed": row.passed,
        },
        "per_model_usage": [_usage(name, ModelUsage(**used)) for name, used in row.usage.items()],
        "per_testing_criteria_results": [
            {"testing_criteria": name, "passed": passed, "failed": failed}
            for name, (passed, failed) in zip(names, row.tally, strict=True)
        ],
        "data_source": run.sent["data_source"],
        "metadata": run.request.metadata or {},
        "error": None if run.problem is None else dict(run.problem),
    }


def item_object(eval_id: str, run_id: str, row: ItemRow, content: Mapping[str, Any]) -> dict[str, Any]:
    """What became of an item as OpenAI writes it."""
    return {
        "object": "eval.run.output_item",
        "id": item_id(run_id, row.number),
        "run_id": run_id,
        "eval_id": eval_id,
        "created_at": row.created_at,
        "status": row.status,
        "datasource_item_id": row.number,
        **content,
    }


def _usage(model: str, used: ModelUsage) -> dict[str, Any]:
    tokens = usage_of(Usage(used.prompt_tokens, used.completion_tokens, used.cached_tokens))
    return {"model_name": model, "invocation_count": used.invocation_count, **tokens}


def _where(call: Call) -> tuple[str, str]:
    return call.path["eval_id"], call.path["run_id"]


def _page(query: Mapping[str, str]) -> Page:
    """Which part of a list is asked for; the oldest first, unless the caller says otherwise."""
    return page_of({"order": "asc", **query}, most=_MOST)


def _listed(data: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    ends = {"first_id": data[0]["id"] if data else "", "last_id": data[-1]["id"] if data else ""}
    return {"object": "list", "data": data, **ends, "has_more": more}
