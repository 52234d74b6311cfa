"""`/v1/receipts`: what the journal says of one request, with the proof that it does, and which requests there were."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.routing import BaseRoute, Route

from freehold.api.dialect import Dialect
from freehold.api.openai import MakeOperation
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest, UnknownParameter
from freehold.gateway.receipts import Receipts
from freehold.journal.records import utc
from freehold.store.receipt_queries import ReceiptQuery
from freehold.types.receipt import Outcome

PATH: Final = "/v1/receipts"
ONE: Final = "/v1/receipts/{request_id}"
_MOST: Final = 100
_MAX_TIME_S: Final = 253_402_300_800
_KINDS: Final = ("completions", "embeddings", "images", "moderations", "other")
_COLUMNS: Final[Mapping[str, str]] = {
    "kind": "route_kind",
    **{name: name for name in ("project_id", "principal", "key_id", "end_user", "deployment", "model", "outcome")},
}
"""Parameter → column of which it names values."""
_CHOICES: Final[Mapping[str, Sequence[str]]] = {"kind": _KINDS, "outcome": [outcome.value for outcome in Outcome]}
_TIMES: Final = ("started_at", "ended_at")
_TOLD: Final = (
    "duration_us",
    "first_token_us",
    "route",
    "dialect",
    "outcome",
    "status",
    "error_code",
    "finish_reason",
    "project_id",
    "principal",
    "key_id",
    "end_user",
    "auth_method",
    "requested",
    "deployment",
    "spilled_from",
    "model",
    "engine",
    "replica",
    "service_tier",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "estimated",
    "cost_micro",
    "replay_of",
)
"""Fields of a receipt that are in a list."""


def receipt_routes(operation: MakeOperation, receipts: Receipts) -> list[BaseRoute]:
    """The routes; `operation(route, handler, dialect, has_body=True)` makes an endpoint."""
    return [
        Route(path, operation(path, handler, Dialect.OPENAI, has_body=False), methods=["GET"])
        for path, handler in ((PATH, _list(receipts)), (ONE, _retrieve(receipts)))
    ]


def _list(receipts: Receipts) -> Handler:
    async def list_receipts(call: Call) -> Reply:
        """Receipts that the caller may see, newest first."""
        query, after = _query(call.query_items)
        found, more = await receipts.list(call.principal, query, after)
        data = [_summary(row) for row in found]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return {"object": "list", "data": data, **ends, "has_more": more}

    return list_receipts


def _retrieve(receipts: Receipts) -> Handler:
    async def retrieve_receipt(call: Call) -> Reply:
        """One receipt of the caller's project."""
        found = await receipts.get(call.principal, call.path["request_id"])
        return {"object": "receipt", "receipt": found.receipt, "proof": found.proof}

    return retrieve_receipt


def _summary(row: Mapping[str, Any]) -> dict[str, Any]:
    """A receipt in a list: the fields that it has, and null for what it has not."""
    times = {name: utc(row[name] / 1_000_000) for name in _TIMES}
    told = {name: None if row[name] == "" else row[name] for name in _TOLD}
    return {"object": "receipt.summary", "id": row["request_id"], **times, **told}


def _query(items: Sequence[tuple[str, str]]) -> tuple[ReceiptQuery, str | None]:
    """Which receipts are asked for, and after which.

    Raises:
        UnknownParameter, InvalidRequest: a parameter is none, or has a value that it may not have.
    """
    several: dict[str, list[str]] = {}
    single: dict[str, str] = {}
    for name, value in items:
        if name in _COLUMNS:
            several.setdefault(name, []).append(value)
        elif name not in {"limit", "after", "start_time", "end_time"}:
            raise UnknownParameter(f"Unknown parameter: '{name[:64]}'.", param=name[:64])
        elif single.setdefault(name, value) != value:
            raise InvalidRequest(f"'{name}' stands twice, with different values.", param=name)
    for name, known in _CHOICES.items():
        if not set(known).issuperset(several.get(name, ())):
            raise InvalidRequest(f"'{name}' must be one of {', '.join(known)}.", param=name)
    where = {_COLUMNS[name]: tuple(values) for name, values in several.items()}
    where_not = {} if "kind" in several else {"route_kind": ("other",)}
    query = ReceiptQuery(
        where,
        where_not,
        _number(single, "start_time", 0, _MAX_TIME_S),
        _number(single, "end_time", 0, _MAX_TIME_S),
        limit=_number(single, "limit", 1, _MOST) or 20,
    )
    return query, single.get("after")


def _number(values: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15 and least <= int(text) <= most):
        raise InvalidRequest(f"'{name}' must be an integer from {least} to {most}.", param=name)
    return int(text)
