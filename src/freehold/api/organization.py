"""OpenAI's usage and costs: `GET /v1/organization/usage/*` and `/v1/organization/costs`.

A `user_id` is the principal, a `model` and a `line_item` the deployment that served. Buckets begin on the minute, hour
or day in UTC; the first and the last are cut to the range that was asked for.
"""

import asyncio
import base64
import binascii
import hashlib
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.routing import BaseRoute, Route

from freehold.api.csv_table import csv_download
from freehold.api.dialect import Dialect
from freehold.api.openai import MakeOperation
from freehold.api.reply import Call, Download, Handler, Reply
from freehold.api.usage_reports import REPORTS, Report
from freehold.errors import InvalidRequest, UnknownParameter
from freehold.governance.authorization import require
from freehold.journal.projection_reports import UsageReports
from freehold.journal.records import utc
from freehold.store.usage_queries import UsageQuery, UsageSum
from freehold.types.identity import Action, Principal
from freehold.types.money import decimal_from_micro
from freehold.types.receipt import Outcome

_MAX_TIME_S: Final = 253_402_300_800
"""The year 10000."""
_CURSOR: Final = struct.Struct(">q8sq")
MOST_ROWS: Final = 100_000
"""Of a table."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What a caller asks. Times are seconds since the epoch; `end_s` is None where the caller named none."""

    start_s: int
    end_s: int | None
    width_s: int
    limit: int
    page: str | None
    where: dict[str, tuple[str, ...]]
    groups: tuple[str, ...]
    fingerprint: bytes
    as_csv: bool = False


def organization_routes(operation: MakeOperation, reports: UsageReports) -> list[BaseRoute]:
    """The routes; `operation(route, handler, dialect, has_body=True)` makes an endpoint."""
    return [
        Route(
            path := f"/v1/organization/{report.path}",
            operation(path, _handler(report, reports), Dialect.OPENAI, has_body=False),
            methods=["GET"],
        )
        for report in REPORTS
    ]


def _handler(report: Report, reports: UsageReports) -> Handler:
    async def handle(call: Call) -> Reply:
        require(call.principal, Action.READ_USAGE, report.path)
        question = _question(report, call.query_items)
        if question.as_csv:
            return await _table(report, question, reports, _place(call.principal))
        return await _answer(report, question, reports, _place(call.principal))

    return handle


def _place(principal: Principal) -> dict[str, tuple[str, ...]]:
    """Whose figures the principal sees: the organization's, or its project's if its role is held there only."""
    place: dict[str, tuple[str, ...]] = {"organization_id": (principal.organization_id,)}
    if Action.READ_USAGE not in principal.organization_actions:
        place["project_id"] = (principal.project_id,)
    return place


async def _answer(
    report: Report, question: _Question, reports: UsageReports, place: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """One page of buckets."""
    width = question.width_s
    begin, end = question.start_s, question.end_s
    if question.page is not None:
        begin, end = _cursor(question)
    elif end is None:
        end = max(begin + 1, (int(time.time()) // width + 1) * width)
    page_end = min(end, (begin // width + question.limit) * width)
    results: dict[int, list[dict[str, Any]]] = {}
    for total in await _sums(report, question, reports, place, begin, page_end):
        results.setdefault(total.start_s, []).append(_result(report, question, total))
    has_more = page_end < end
    return {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": max(at, begin),
                "end_time": min(at + width, page_end),
                "results": results.get(at, []),
            }
            for at in range(begin // width * width, page_end, width)
        ],
        "has_more": has_more,
        "next_page": _next_page(page_end, end, question.fingerprint) if has_more else None,
    }


async def _sums(
    report: Report,
    question: _Question,
    reports: UsageReports,
    place: Mapping[str, tuple[str, ...]],
    begin: int,
    end: int,
    *,
    most: int | None = None,
) -> list[UsageSum]:
    """The sums from one second to before another.

    Raises:
        InvalidRequest: they would be more than `most`.
    """
    where = {**place, **question.where}
    if "project_id" in place and "project_id" in question.where:
        where["project_id"] = tuple(set(place["project_id"]) & set(question.where["project_id"]))
    if report.kind is not None:
        where["route_kind"] = (report.kind,)
    columns = tuple(report.groups[name] for name in question.groups if report.groups[name])
    bound = None if most is None else most + 1
    query = UsageQuery(begin, end, question.width_s, where, {"outcome": (Outcome.REFUSED.value,)}, columns, bound)
    found = await reports.sums(query)
    if most is not None and len(found) > most:
        raise InvalidRequest(
            f"There are more than {most} rows; ask for a shorter time or wider buckets.", param="start_time"
        )
    return [total for total in found if total.model_requests or total.cost_micro]


async def _table(
    report: Report, question: _Question, reports: UsageReports, place: Mapping[str, tuple[str, ...]]
) -> Download:
    """All results of the whole range as CSV, a row each.

    Raises:
        InvalidRequest: they would be more than `MOST_ROWS`.
    """
    begin = question.start_s
    end = max(begin + 1, int(time.time()) + 1) if question.end_s is None else question.end_s
    sums = await _sums(report, question, reports, place, begin, end, most=MOST_ROWS)
    return await asyncio.to_thread(_rows, report, question, begin, sums)


def _rows(report: Report, question: _Question, begin: int, sums: Sequence[UsageSum]) -> Download:
    """The table of some sums."""
    rows = []
    for total in sums:
        result = _result(report, question, total)
        figures = {name: value for name, value in result.items() if name not in {"object", *report.groups}}
        if isinstance(amount := figures.get("amount"), dict):
            figures |= {"amount": decimal_from_micro(total.cost_micro), "currency": amount["currency"]}
        groups = {name: result[name] for name in question.groups}
        rows.append({"start_time": utc(max(total.start_s, begin)), **groups, **figures})
    columns = list(rows[0]) if rows else ["start_time", *question.groups]
    name = f"{report.path.replace('/', '-')}.csv"
    return csv_download(name, columns, [[row[column] for column in columns] for row in rows])


def _result(report: Report, question: _Question, total: UsageSum) -> dict[str, Any]:
    """One result: the figures, and of what `group_by` can name the values or null."""
    keys = iter(total.keys)
    # No request comes from a batch job yet.
    values: dict[str, Any] = {name: (next(keys) or None) if report.groups[name] else False for name in question.groups}
    groups = {name: values.get(name) for name in report.groups}
    return {"object": report.result, **report.amounts(total, values), **groups}


def _question(report: Report, items: Iterable[tuple[str, str]]) -> _Question:
    """What the query parameters say.

    Raises:
        UnknownParameter, InvalidRequest: they name something that there is not, or a wrong value.
    """
    single, several = _sorted(report, items)
    width_name = single.get("bucket_width", "1d")
    if width_name not in report.widths:
        raise _wrong("bucket_width", f"must be one of {_quoted(report.widths)}")
    width_s, default_limit, max_limit = report.widths[width_name]
    if "start_time" not in single:
        raise InvalidRequest(
            "Missing required parameter: 'start_time'.", param="start_time", code="missing_required_parameter"
        )
    start_s = _integer(single, "start_time", 0, _MAX_TIME_S - 1)
    end_s = _integer(single, "end_time", 1, _MAX_TIME_S) if "end_time" in single else None
    if end_s is not None and end_s <= start_s:
        raise _wrong("end_time", "must be later than 'start_time'")
    groups = tuple(dict.fromkeys(several.pop("group_by", ())))
    for name in groups:
        if name not in report.groups:
            raise _wrong("group_by", f"must be of {_quoted(report.groups)}")
    for name, allowed in (report.choices or {}).items():
        if not allowed.issuperset(several.get(name, ())):
            raise _wrong(name, f"must be of {_quoted(sorted(allowed))}")
    where = {report.filters[name]: tuple(values) for name, values in several.items()}
    if _boolean(single, "batch"):
        where["outcome"] = ()  # no request comes from a batch job yet
    form = single.get("format", "json")
    if form not in {"json", "csv"} or (form == "csv" and not single.keys().isdisjoint({"page", "limit"})):
        raise _wrong("format", "must be 'json' or, without 'page' and 'limit', 'csv'")
    told = repr((report.path, start_s, end_s, width_name, sorted(where.items()), groups))
    return _Question(
        start_s,
        end_s,
        width_s,
        _integer(single, "limit", 1, max_limit) if "limit" in single else default_limit,
        single.get("page"),
        where,
        groups,
        hashlib.sha256(told.encode("utf-8", "surrogatepass")).digest()[:8],
        form == "csv",
    )


def _sorted(report: Report, items: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The parameters with one value, and those with several; a list is written with or without brackets."""
    singles = {"start_time", "end_time", "bucket_width", "limit", "page", "format"} | (
        {"batch"} if report.batch else set()
    )
    single: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for given, value in items:
        name = given.removesuffix("[]")
        if name == "group_by" or name in report.filters:
            several.setdefault(name, []).append(value)
        elif given not in singles:
            raise UnknownParameter(f"Unknown parameter: '{given}'.", param=given)
        elif given in single:
            raise _wrong(given, "must be given once")
        else:
            single[given] = value
    return single, several


def _integer(values: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = values[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 15 and least <= int(text) <= most):
        raise _wrong(name, f"must be an integer from {least} to {most}")
    return int(text)


def _boolean(values: Mapping[str, str], name: str) -> bool | None:
    if name not in values:
        return None
    if values[name] not in {"true", "false"}:
        raise _wrong(name, "must be true or false")
    return values[name] == "true"


def _next_page(begin: int, end: int, fingerprint: bytes) -> str:
    return "page_" + base64.urlsafe_b64encode(_CURSOR.pack(begin, fingerprint, end)).decode()


def _cursor(question: _Question) -> tuple[int, int]:
    """Where a page begins, and where the whole range ends."""
    page = str(question.page)
    try:
        raw = base64.urlsafe_b64decode(page.removeprefix("page_").encode("ascii"))
        begin, fingerprint, end = _CURSOR.unpack(raw)
    except (binascii.Error, struct.error, ValueError):
        raise _wrong("page", "must be the 'next_page' of an answer") from None
    if fingerprint != question.fingerprint or not question.start_s <= begin < end <= _MAX_TIME_S:
        raise _wrong("page", "must be the 'next_page' of an answer to the same question")
    return begin, end


def _wrong(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid value: '{name}' {what}.", param=name)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
