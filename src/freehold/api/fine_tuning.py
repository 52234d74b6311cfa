"""`/fine_tuning/jobs`: make, look at, list, cancel, pause and resume jobs that train models."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from freehold.api.body import parse
from freehold.api.paging import page_of
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.gateway.tuning_store import Tuning
from freehold.store.fine_tuning import CheckpointRow
from freehold.store.kept_items import Page
from freehold.types.fine_tuning import TuningEvent, TuningRequest, TuningStatus
from freehold.types.stored_completions import MetadataUpdate

_MOST: Final = 100
_PAIR: Final = re.compile(r"metadata\[(.*)\]", re.DOTALL)
_METRICS: Final = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
"""Of a checkpoint, in OpenAI's words; what other methods measure is in the events and the result files."""


async def create_job(call: Call) -> Reply:
    """Have a model trained."""
    request = parse(TuningRequest, call.body)
    made = await call.gateway.fine_tuning.create(call.principal, request, call.dialect.value, call.gateway)
    call.account.parameters = {"method": made.row.method, "fine_tuning_job": made.id}
    return job_object(made)


async def list_jobs(call: Call) -> Reply:
    """The jobs that the caller may see, page by page."""
    page = _page(call.query)
    metadata = _pairs(call.query_items)
    found, more = await call.gateway.fine_tuning.list(
        call.principal, after=page.after, limit=page.limit, metadata=metadata
    )
    return {"object": "list", "data": [job_object(each) for each in found], "has_more": more}


async def retrieve_job(call: Call) -> Reply:
    """One job."""
    return job_object(await call.gateway.fine_tuning.get(call.principal, call.path["fine_tuning_job_id"]))


async def cancel_job(call: Call) -> Reply:
    """Have a job end."""
    return job_object(await call.gateway.fine_tuning.cancel(call.principal, call.path["fine_tuning_job_id"]))


async def pause_job(call: Call) -> Reply:
    """Have a job stop until it is resumed."""
    return job_object(await call.gateway.fine_tuning.pause(call.principal, call.path["fine_tuning_job_id"]))


async def resume_job(call: Call) -> Reply:
    """Have a paused job go on."""
    return job_object(await call.gateway.fine_tuning.resume(call.principal, call.path["fine_tuning_job_id"]))


async def list_events(call: Call) -> Reply:
    """What happened to a job, page by page."""
    page, tuning_id = _page(call.query), call.path["fine_tuning_job_id"]
    found, more = await call.gateway.fine_tuning.events(call.principal, tuning_id, after=page.after, limit=page.limit)
    return {"object": "list", "data": [_event_object(each) for each in found], "has_more": more}


async def list_checkpoints(call: Call) -> Reply:
    """The checkpoints of a job, page by page."""
    page, tuning_id = _page(call.query, usual=10), call.path["fine_tuning_job_id"]
    found, more = await call.gateway.fine_tuning.checkpoints(
        call.principal, tuning_id, after=page.after, limit=page.limit
    )
    data = [_checkpoint_object(tuning_id, each) for each in found]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, **ends, "has_more": more}


_JOB: Final = "fine_tuning/jobs/{fine_tuning_job_id}"
OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "fine_tuning/jobs", create_job),
    ("GET", "fine_tuning/jobs", list_jobs),
    ("GET", _JOB, retrieve_job),
    ("POST", f"{_JOB}/cancel", cancel_job),
    ("POST", f"{_JOB}/pause", pause_job),
    ("POST", f"{_JOB}/resume", resume_job),
    ("GET", f"{_JOB}/events", list_events),
    ("GET", f"{_JOB}/checkpoints", list_checkpoints),
)
"""Method, path and handler of each."""
BODILESS: Final = frozenset({cancel_job, pause_job, resume_job})


def job_object(tuning: Tuning) -> dict[str, Any]:
    """A job as OpenAI writes it."""
    row, header = tuning.row, tuning.header
    status = TuningStatus(row.status)
    method = _method(header["method"], row.resolved)
    numbers = method[row.method]["hyperparameters"]
    shown = {name: numbers.get(name, "auto") for name in ("n_epochs", "batch_size", "learning_rate_multiplier")}
    return {
        "object": "fine_tuning.job",
        "id": row.id,
        "model": row.model,
        "created_at": row.created_at,
        "finished_at": row.ended_at,
        "fine_tuned_model": row.fine_tuned_model or None,
        "organization_id": row.organization_id,
        "result_files": list(row.result_files),
        "status": status.value,
        "validation_file": row.validation_file or None,
        "training_file": row.training_file,
        "hyperparameters": shown if row.method == "supervised" else {},
        "trained_tokens": row.tokens if status is TuningStatus.SUCCEEDED else None,
        "error": None if tuning.error is None else asdict(tuning.error),
        "integrations": [],
        "seed": row.seed,
        "estimated_finish": row.estimated_finish if status is TuningStatus.RUNNING else None,
        "method": method,
        "metadata": header["metadata"],
    } | _of_the_cluster(tuning)


def _of_the_cluster(tuning: Tuning) -> dict[str, Any]:
    """Freehold's own about a job's room: left out where there is nothing to say, so that others are as OpenAI's."""
    row = tuning.row
    waits = {"waits_for": "room"} if row.stage else {}
    return waits | ({"preemptions": row.preemptions} if row.preemptions else {})


def _method(asked: Mapping[str, Any], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """How a job trains, with the numbers that were found for what was left to it."""
    name = asked["type"]
    part = dict(asked.get(name) or {})
    numbers = dict(part.get("hyperparameters") or {})
    part["hyperparameters"] = numbers | {key: value for key, value in resolved.items() if key in numbers}
    return {"type": name, name: part}


def _event_object(event: TuningEvent) -> dict[str, Any]:
    return {
        "object": "fine_tuning.job.event",
        "id": event.id,
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": dict(event.data),
    }


def _checkpoint_object(tuning_id: str, checkpoint: CheckpointRow) -> dict[str, Any]:
    numbers = {name: checkpoint.metrics[name] for name in _METRICS if name in checkpoint.metrics}
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": checkpoint.id,
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": checkpoint.model,
        "fine_tuning_job_id": tuning_id,
        "metrics": {"step": checkpoint.step, **numbers},
        "step_number": checkpoint.step,
    }


def _page(query: Mapping[str, str], *, usual: int = 20) -> Page:
    """Which part of a list is asked for; all are listed from the newest on."""
    page = page_of(query, most=_MOST, usual=usual)
    if not page.newest_first:
        raise UnsupportedParameter("Unsupported value: 'order': the list begins with the newest.", param="order")
    return page


def _pairs(items: Sequence[tuple[str, str]]) -> Mapping[str, str] | None:
    """The metadata that is asked for: `metadata[key]=value` for each pair, or `metadata=null` for any.

    Raises:
        InvalidRequest: it is written in another way, or names a key twice.
    """
    pairs: dict[str, str] = {}
    for name, value in items:
        if name.partition("[")[0] != "metadata" or (name, value) in {("metadata", "null"), ("metadata", "")}:
            continue
        named = _PAIR.fullmatch(name)
        if named is None:
            raise InvalidRequest("Write 'metadata[key]=value' for each pair.", param="metadata")
        if named[1] in pairs:
            raise InvalidRequest(f"'metadata' names the key '{named[1][:64]}' twice.", param="metadata")
        pairs[named[1]] = value
    return parse(MetadataUpdate, {"metadata": pairs}).metadata
