"""`/v1/jobs`: jobs of every kind, listed, looked at, cancelled, paused and resumed. An API of Freehold's own."""

from typing import Any, Final

from starlette.routing import BaseRoute, Route

from freehold.api.dialect import Dialect
from freehold.api.openai import MakeOperation
from freehold.api.paging import page_of
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.gateway.jobs import JobQuery
from freehold.types.jobs import Job, JobState

_MOST: Final = 100


def job_routes(operation: MakeOperation) -> list[BaseRoute]:
    """The routes; `operation(route, handler, dialect, has_body=True)` makes an endpoint."""
    return [
        Route(path, operation(path, handler, Dialect.OPENAI, has_body=False), methods=[method])
        for method, path, handler in _OPERATIONS
    ]


async def list_jobs(call: Call) -> Reply:
    """The jobs that the caller may see, page by page."""
    page = page_of(call.query, most=_MOST)
    if not page.newest_first:
        raise UnsupportedParameter("Unsupported value: 'order': jobs are listed from the newest on.", param="order")
    states = [_state(value) for name, value in call.query_items if name == "state"]
    query = JobQuery(call.query.get("kind"), states, page.after, page.limit)
    found, more = await call.gateway.content.jobs.list(call.principal, query)
    return {"object": "list", "data": [job_object(each) for each in found], "has_more": more}


async def retrieve_job(call: Call) -> Reply:
    """One job."""
    return job_object(await call.gateway.content.jobs.get(call.principal, call.path["job_id"]))


async def list_job_events(call: Call) -> Reply:
    """What happened to a job, oldest first, from the event behind the number `after` on."""
    query = dict(call.query)
    after = query.pop("after", "0")
    if not after.isdecimal() or len(after) > 9:
        raise InvalidRequest("'after' must be the number of an event.", param="after")
    page = page_of({"order": "asc", **query}, most=_MOST)
    if page.newest_first:
        raise UnsupportedParameter("Unsupported value: 'order': events are listed from the oldest on.", param="order")
    job_id = call.path["job_id"]
    found, more = await call.gateway.content.jobs.events(call.principal, job_id, after=int(after), limit=page.limit)
    data = [
        {"object": "job.event", "number": each.number, "created_at": each.created_at, "event": each.event}
        | ({"detail": each.detail} if each.detail else {})
        for each in found
    ]
    return {"object": "list", "data": data, "has_more": more}


async def cancel_job(call: Call) -> Reply:
    """Have a job end soon."""
    return job_object(await call.gateway.content.jobs.cancel(call.principal, call.path["job_id"]))


async def pause_job(call: Call) -> Reply:
    """Have nobody work on a job until it is resumed."""
    return job_object(await call.gateway.content.jobs.pause(call.principal, call.path["job_id"]))


async def resume_job(call: Call) -> Reply:
    """Let a paused job go on."""
    return job_object(await call.gateway.content.jobs.resume(call.principal, call.path["job_id"]))


_OPERATIONS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/v1/jobs", list_jobs),
    ("GET", "/v1/jobs/{job_id}", retrieve_job),
    ("GET", "/v1/jobs/{job_id}/events", list_job_events),
    ("POST", "/v1/jobs/{job_id}/cancel", cancel_job),
    ("POST", "/v1/jobs/{job_id}/pause", pause_job),
    ("POST", "/v1/jobs/{job_id}/resume", resume_job),
)
"""Method, path and handler of each."""


def job_object(job: Job) -> dict[str, Any]:
    """A job as it is told; what is not known yet, or never will be, is left out."""
    told = {
        "object": "job",
        "id": job.id,
        "kind": job.kind,
        "subject": job.subject,
        "state": job.shown.value,
        "asked": _asked(job),
        "total": job.total,
        "done": job.done,
        "failed": job.failed,
        "attempts": job.attempts,
        "error_code": job.error_code,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "begins_at": -(-job.not_before_ms // 1000) if job.state in {JobState.QUEUED, JobState.PAUSED} else 0,
    }
    always = {"total", "done", "failed", "attempts"}
    return {name: value for name, value in told.items() if name in always or value}


def _asked(job: Job) -> str:
    """What whoever works on a job was asked to do."""
    if job.finished_at is not None:
        return ""
    if job.cancelling:
        return "cancel"
    return "pause" if job.pausing else ""


def _state(value: str) -> JobState:
    """A state that is asked for.

    Raises:
        InvalidRequest: there is none of that name.
    """
    try:
        return JobState(value)
    except ValueError:
        known = ", ".join(JobState)
        raise InvalidRequest(f"'state' must be one of {known}; '{value[:32]}' is none.", param="state") from None
