"""`/admin/usage` and `/admin/reconcile`: bills, and whether they are right."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from enum import StrEnum
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from freehold.api.admin.door import allow, record
from freehold.api.csv_table import MEDIA_TYPE, csv_text
from freehold.api.dialect import Dialect, error_body
from freehold.errors import FreeholdError, InvalidRequest
from freehold.journal.projection_reconcile import Reconciliation, reconcile
from freehold.journal.projection_reports import UsageReports
from freehold.store.usage_queries import DAY_S, HOUR_S, UsageQuery, UsageSum
from freehold.types.identity import Action

_MAX_TIME_S: Final = 253_402_300_800
_FIGURES: Final = (
    "requests",
    "model_requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "cost_micro",
    "duration_us",
)


class By(StrEnum):
    """What usage is kept apart by."""

    DAY = "day"
    HOUR = "hour"
    DEPLOYMENT = "deployment"
    PROJECT = "project"
    KEY = "key"
    END_USER = "end-user"
    OUTCOME = "outcome"
    MODEL = "model"


class Form(StrEnum):
    """How usage is told."""

    JSON = "json"
    CSV = "csv"


_WIDTHS: Final = {By.DAY: DAY_S, By.HOUR: HOUR_S}
_COLUMNS: Final = {
    By.DEPLOYMENT: "deployment",
    By.PROJECT: "project_id",
    By.KEY: "key_id",
    By.END_USER: "end_user",
    By.OUTCOME: "outcome",
    By.MODEL: "model",
}

Time = Annotated[int, Query(ge=0, le=_MAX_TIME_S)]
Names = Annotated[list[str] | None, Query()]


def usage_routes(reports: UsageReports, digest_end_user: Callable[[str], str]) -> APIRouter:
    """The routes.

    Args:
        reports: what they read.
        digest_end_user: gives the digest under which an end user's name stands on receipts.
    """
    router = APIRouter(tags=["usage"])

    @router.get("/usage", dependencies=[allow(Action.READ_USAGE)], response_model=None)
    async def read_usage(
        by: By = By.DAY,
        since: Time = 0,
        until: Time | None = None,
        project: Names = None,
        key: Names = None,
        end_user: Names = None,
        deployment: Names = None,
        form: Annotated[Form, Query(alias="format")] = Form.JSON,
    ) -> dict[str, Any] | Response:
        """Sums of the requests to models that started from `since` to before `until`, in seconds since the epoch.

        `end_user` is a name as the caller gave it, or the digest that stands in its place. With the format `csv` the
        lines come as a table.
        """
        end_s = until if until is not None else int(time.time()) + 1
        if end_s <= since:
            raise InvalidRequest("'until' must be later than 'since'.", param="until")
        digests = [digest for name in end_user or () for digest in (digest_end_user(name), name)]
        given = {"project_id": project, "key_id": key, "end_user": digests, "deployment": deployment}
        where = {column: tuple(values) for column, values in given.items() if values}
        columns = (_COLUMNS[by],) if by in _COLUMNS else ()
        found = await reports.sums(
            UsageQuery(since, end_s, _WIDTHS.get(by), where, {"route_kind": ("other",)}, columns)
        )
        if by in _COLUMNS:
            found.sort(
                key=lambda total: (-total.cost_micro, -total.prompt_tokens - total.completion_tokens, total.keys)
            )
        lines = [_line(by, total) for total in found]
        if form is Form.CSV:
            table = csv_text(("key", *_FIGURES), [list(line.values()) for line in lines])
            headers = {"content-disposition": f'attachment; filename="usage-{by.value}.csv"'}
            return Response(table, media_type=MEDIA_TYPE, headers=headers)
        return {
            "object": "usage",
            "by": by.value,
            "since": since,
            "until": end_s,
            "data": lines,
            "total": {name: sum(getattr(total, name) for total in found) for name in _FIGURES},
            "projection": projection_object(reports),
        }

    @router.get("/usage/projection", dependencies=[allow(Action.READ_USAGE)])
    async def read_projection() -> dict[str, Any]:
        """How far the usage database is behind the journal."""
        return projection_object(reports)

    @router.post("/usage/rebuild", status_code=202, dependencies=[allow(Action.MANAGE)])
    async def rebuild(request: Request) -> dict[str, Any]:
        """Empty the usage database and make it anew from the journal; `/admin/usage/projection` tells how far it is."""
        await reports.projection.rebuild()
        record(request, "usage.rebuilt", "usage", "usage")
        return projection_object(reports)

    @router.post("/reconcile", dependencies=[allow(Action.READ_USAGE)])
    async def reconcile_all(request: Request) -> StreamingResponse:
        """Compare journal, database and engines. Lines of progress, then one with `reconciliation` or `error`."""
        record(request, "usage.reconciled", "usage", "usage")
        return StreamingResponse(_reconcile(reports), media_type="application/x-ndjson")

    return router


def _line(by: By, total: UsageSum) -> dict[str, Any]:
    key: int | str | None = (total.keys[0] or None) if by in _COLUMNS else total.start_s
    return {"key": key, **{name: getattr(total, name) for name in _FIGURES}}


def projection_object(reports: UsageReports) -> dict[str, Any]:
    """How far the usage database is behind the journal."""
    projection = reports.projection
    state = projection.state
    return {
        "object": "usage.projection",
        "database": reports.database.shown,
        "state": state.name,
        "since": round(state.since),
        "reason": state.reason,
        "lag": projection.lag,
        "projected": projection.projected.seq,
    }


async def _reconcile(reports: UsageReports) -> AsyncGenerator[bytes]:
    """The lines of a reconciliation; closing them ends it."""
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def report(records: int, of: int) -> None:
        lines.put_nowait({"records": records, "of": of})

    async def work() -> Reconciliation:
        try:
            return await reconcile(reports, report)
        finally:
            lines.put_nowait(None)

    task = asyncio.create_task(work())
    try:
        while (line := await lines.get()) is not None:
            yield orjson.dumps(line) + b"\n"
        try:
            last: dict[str, Any] = {"reconciliation": (await task).wire()}
        except FreeholdError as exc:
            last = error_body(exc, Dialect.OPENAI)
        yield orjson.dumps(last) + b"\n"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
