"""`/v1/training/jobs`: submit trainings from nothing, and see how far they are. An API of Freehold's own.

They are cancelled, paused and resumed as jobs of every kind are, by `/v1/jobs`.
"""

from typing import Any, Final

from starlette.routing import BaseRoute, Route

from freehold.api.body import parse
from freehold.api.dialect import Dialect
from freehold.api.openai import MakeOperation
from freehold.api.paging import page_of
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import UnsupportedParameter
from freehold.gateway.trainings import Trainings
from freehold.store.training import TrainingRow
from freehold.types.training import TrainingRequest, TrainingStatus

_MOST: Final = 100
_JOBS: Final = "/v1/training/jobs"


def training_routes(operation: MakeOperation, trainings: Trainings) -> list[BaseRoute]:
    """The routes; `operation(route, handler, dialect, has_body=True)` makes an endpoint."""

    async def create_training(call: Call) -> Reply:
        """Have a model trained from nothing."""
        made = await trainings.create(call.principal, parse(TrainingRequest, call.body))
        call.account.parameters = {"training": made.id}
        return training_object(made)

    async def list_trainings(call: Call) -> Reply:
        """The trainings that the caller may see, page by page."""
        page = page_of(call.query, most=_MOST)
        if not page.newest_first:
            raise UnsupportedParameter("Unsupported value: 'order': the list begins with the newest.", param="order")
        found, more = await trainings.list(call.principal, after=page.after, limit=page.limit)
        return {"object": "list", "data": [training_object(each) for each in found], "has_more": more}

    async def retrieve_training(call: Call) -> Reply:
        """One training."""
        return training_object(await trainings.get(call.principal, call.path["training_id"]))

    table: tuple[tuple[str, str, Handler], ...] = (
        ("POST", _JOBS, create_training),
        ("GET", _JOBS, list_trainings),
        ("GET", f"{_JOBS}/{{training_id}}", retrieve_training),
    )
    return [
        Route(path, operation(path, handler, Dialect.OPENAI, has_body=method == "POST"), methods=[method])
        for method, path, handler in table
    ]


def training_object(row: TrainingRow) -> dict[str, Any]:
    """A training as it is told. Sums and money are those of the stretches that have ended."""
    needs = row.needs
    return {
        "object": "training.job",
        "id": row.id,
        "job": row.job_id,
        "name": row.name,
        "status": row.status,
        "created_at": row.created_at,
        "finished_at": row.ended_at,
        "recipe": dict(row.recipe),
        "data": row.data,
        "out": row.out,
        "processes": needs["processes"],
        "device": needs["device"],
        "device_kind": needs["device_kind"] or None,
        "threads": needs["threads"] or None,
        "memory_bytes": needs["memory_bytes"],
        "zones": needs["zones"] or None,
        "checkpoint_s": needs["checkpoint_s"],
        "steps": row.steps,
        "step": row.step,
        "metrics": dict(row.metrics),
        "preemptions": row.preemptions,
        "trained_tokens": row.tokens,
        "device_us": row.device_us,
        "core_us": row.core_us,
        "cost_micro": row.cost_micro,
        "error": _error(row),
    }


def _error(row: TrainingRow) -> dict[str, str] | None:
    """Why a training has failed."""
    if row.status != TrainingStatus.FAILED:
        return None
    return {"code": row.error_code, "message": row.error}
