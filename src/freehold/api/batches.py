"""`/batches`: make, look at, list and cancel batches."""

from dataclasses import asdict
from typing import Any, Final

from freehold.api.body import parse
from freehold.api.paging import page_of
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import UnsupportedParameter
from freehold.gateway.batch_store import Batch
from freehold.types.batches import BATCH_ENDED, BatchRequest, BatchStatus

_MOST: Final = 100


async def create_batch(call: Call) -> Reply:
    """Have the requests of a file run."""
    request = parse(BatchRequest, call.body)
    made = await call.gateway.content.batches.create(call.principal, request, call.dialect.value, call.origin)
    call.account.parameters = {"endpoint": request.endpoint, "batch": made.id}
    return batch_object(made)


async def list_batches(call: Call) -> Reply:
    """The batches that the caller may see, page by page."""
    page = page_of(call.query, most=_MOST)
    if not page.newest_first:
        raise UnsupportedParameter("Unsupported value: 'order': batches are listed from the newest on.", param="order")
    found, more = await call.gateway.content.batches.list(call.principal, after=page.after, limit=page.limit)
    data = [batch_object(each) for each in found]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return {"object": "list", "data": data, **ends, "has_more": more}


async def retrieve_batch(call: Call) -> Reply:
    """One batch."""
    return batch_object(await call.gateway.content.batches.get(call.principal, call.path["batch_id"]))


async def cancel_batch(call: Call) -> Reply:
    """Have a batch end soon."""
    return batch_object(await call.gateway.content.batches.cancel(call.principal, call.path["batch_id"]))


OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "batches", create_batch),
    ("GET", "batches", list_batches),
    ("GET", "batches/{batch_id}", retrieve_batch),
    ("POST", "batches/{batch_id}/cancel", cancel_batch),
)
"""Method, path and handler of each."""


def batch_object(batch: Batch) -> dict[str, Any]:
    """A batch as OpenAI writes it; what is not known yet, or never will be, is left out."""
    row = batch.row
    status = BatchStatus(row.status)
    told = {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "model": row.model or None,
        "errors": _errors(batch),
        "input_file_id": row.input_file_id,
        "completion_window": "24h",
        "status": status.value,
        "output_file_id": row.output_file_id if row.ended_at is not None else None,
        "error_file_id": row.error_file_id if row.ended_at is not None else None,
        "created_at": row.created_at,
        "in_progress_at": row.in_progress_at,
        "expires_at": row.ends_at,
        "finalizing_at": row.finalizing_at,
        "cancelling_at": row.cancelling_at,
        "request_counts": {"total": row.total, "completed": row.completed, "failed": row.failed},
        "usage": {
            "input_tokens": row.input_tokens,
            "input_tokens_details": {"cached_tokens": row.cached_tokens},
            "output_tokens": row.output_tokens,
            "output_tokens_details": {"reasoning_tokens": row.reasoning_tokens},
            "total_tokens": row.input_tokens + row.output_tokens,
        },
        **({f"{status.value}_at": row.ended_at} if status in BATCH_ENDED else {}),
    }
    return {name: value for name, value in told.items() if value is not None and value != ""} | {
        "metadata": batch.header["metadata"]
    }


def _errors(batch: Batch) -> dict[str, Any] | None:
    if not batch.problems:
        return None
    return {"object": "list", "data": [asdict(problem) for problem in batch.problems]}
