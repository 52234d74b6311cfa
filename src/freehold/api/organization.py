"""OpenAI's usage and costs: `GET /v1/organization/usage/*` and `/v1/organization/costs`.

A `user_id` is the principal, a `model` and a `line_item` the deployment that served. Buckets begin on the minute, hour
or day in UTC; the first and the last are cut to the range that was asked for.
"""

import base64
import binascii
import hashlib
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from starlette.routing import BaseRoute, Route

from freehold.api.dialect import Dialect
from freehold.api.openai import MakeOperation
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest, UnknownParameter
from freehold.governance.authorization import require
from freehold.journal.projection_reports import UsageReports
from freehold.store.usage_queries import DAY_S, HOUR_S, MINUTE_S, UsageQuery, UsageSum
from freehold.types.identity import Action, Principal
from freehold.types.money import MICRO
from freehold.types.receipt import Outcome

_MAX_TIME_S: Final = 253_402_300_800
"""The year 10000."""
_CURSOR: Final = struct.Struct(">q8sq")

Groups: TypeAlias = Mapping[str, str]
"""The values by which a result is grouped."""


@dataclass(frozen=True, slots=True)
class Report:
    """One of the questions.

    Args:
        path: under `/v1/organization`.
        result: the `object` of its results.
        widths: `bucket_width` → its seconds, and the default and the largest `limit`.
        filters: parameter → column of which it names allowed values.
        groups: what `group_by` can name → column.
        amounts: makes the figures of a result.
        kind: the `route_kind` that it is about; None for all.
        batch: whether it knows `batch`.
        choices: parameter → the values that it takes, where not any.
    """

    path: str
    result: str
    widths: Mapping[str, tuple[int, int, int]]
    filters: Mapping[str, str]
    groups: Mapping[str, str]
    amounts: Callable[[UsageSum, Groups], dict[str, Any]]
    kind: str | None = None
    batch: bool = False
    choices: Mapping[str, frozenset[str]] | None = None


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


def _completions(total: UsageSum, _groups: Groups) -> dict[str, Any]:
    uncached = total.prompt_tokens - total.cached_tokens
    return {
        "input_tokens": total.prompt_tokens,
        "input_cached_tokens": total.cached_tokens,
        "input_cache_write_tokens": 0,
        "input_uncached_tokens": uncached,
        "output_tokens": total.completion_tokens,
        "input_text_tokens": uncached,
        "output_text_tokens": total.completion_tokens,
        "input_cached_text_tokens": total.cached_tokens,
        "input_audio_tokens": 0,
        "input_cached_audio_tokens": 0,
        "output_audio_tokens": 0,
        "input_image_tokens": 0,
        "input_cached_image_tokens": 0,
        "output_image_tokens": 0,
        "num_model_requests": total.model_requests,
    }


def _input_only(total: UsageSum, _groups: Groups) -> dict[str, Any]:
    return {"input_tokens": total.prompt_tokens, "num_model_requests": total.model_requests}


def _images(total: UsageSum, _groups: Groups) -> dict[str, Any]:
    return {"images": total.images, "num_model_requests": total.model_requests}


def _costs(total: UsageSum, groups: Groups) -> dict[str, Any]:
    """The money as a decimal number. The quantity is told where all of a line item has one unit."""
    quantity: int | None = None
    unit: str | None = None
    if "line_item" in groups:
        tokens = total.prompt_tokens + total.completion_tokens
        if not (tokens and total.images):
            quantity, unit = (total.images, "images") if total.images else (tokens, "tokens")
    return {
        "amount": {"value": total.cost_micro / MICRO, "currency": "usd"},
        "quantity": quantity,
        "quantity_unit": unit,
    }


_WIDTHS: Final = {"1m": (MINUTE_S, 60, 1440), "1h": (HOUR_S, 24, 168), "1d": (DAY_S, 7, 31)}
_FILTERS: Final = {
    "project_ids": "project_id",
    "user_ids": "principal",
    "api_key_ids": "key_id",
    "models": "deployment",
}
_GROUPS: Final = {"project_id": "project_id", "user_id": "principal", "api_key_id": "key_id", "model": "deployment"}

REPORTS: Final = (
    Report(
        "usage/completions",
        "organization.usage.completions.result",
        _WIDTHS,
        _FILTERS,
        {**_GROUPS, "batch": "", "service_tier": "service_tier"},
        _completions,
        kind="completions",
        batch=True,
    ),
    Report(
        "usage/embeddings",
        "organization.usage.embeddings.result",
        _WIDTHS,
        _FILTERS,
        _GROUPS,
        _input_only,
        kind="embeddings",
    ),
    Report(
        "usage/images",
        "organization.usage.images.result",
        _WIDTHS,
        {"sources": "image_source", "sizes": "image_size", **_FILTERS},
        {**_GROUPS, "size": "image_size", "source": "image_source"},
        _images,
        kind="images",
        choices={
            "sources": frozenset({"image.generation", "image.edit", "image.variation"}),
            "sizes": frozenset({"256x256", "512x512", "1024x1024", "1792x1792", "1024x1792"}),
        },
    ),
    Report(
        "usage/moderations",
        "organization.usage.moderations.result",
        _WIDTHS,
        _FILTERS,
        _GROUPS,
        _input_only,
        kind="moderations",
    ),
    Report(
        "costs",
        "organization.costs.result",
        {"1d": (DAY_S, 7, 180)},
        {"project_ids": "project_id", "api_key_ids": "key_id"},
        {"project_id": "project_id", "line_item": "deployment", "api_key_id": "key_id"},
        _costs,
    ),
)


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
    where = {**place, **question.where}
    if "project_id" in place and "project_id" in question.where:
        where["project_id"] = tuple(set(place["project_id"]) & set(question.where["project_id"]))
    if report.kind is not None:
        where["route_kind"] = (report.kind,)
    columns = tuple(report.groups[name] for name in question.groups if report.groups[name])
    query = UsageQuery(begin, page_end, width, where, {"outcome": (Outcome.REFUSED.value,)}, columns)
    results: dict[int, list[dict[str, Any]]] = {}
    for total in await reports.sums(query):
        if total.model_requests or total.cost_micro:
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
    )


def _sorted(report: Report, items: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The parameters with one value, and those with several; a list is written with or without brackets."""
    singles = {"start_time", "end_time", "bucket_width", "limit", "page"} | ({"batch"} if report.batch else set())
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
