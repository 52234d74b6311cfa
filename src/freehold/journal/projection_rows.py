"""From a receipt, an administrative action or a training in the journal to a row of the usage database."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import orjson

from freehold.errors import JournalDamaged
from freehold.journal.reader import Line
from freehold.journal.records import Plain
from freehold.store.usage_writing import Row
from freehold.types.receipt import Outcome
from freehold.types.training import MILLI

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
MAX_KEY: Final = 256
"""Longer texts are cut where they are part of a key: PostgreSQL's indexes hold no entry of more than 2,704 bytes."""
_IMAGES: Final = {"generations": "image.generation", "edits": "image.edit", "variations": "image.variation"}
_KINDS: Final = {
    "completions": "completions",
    "responses": "completions",
    "embeddings": "embeddings",
    "moderations": "moderations",
}
_STRETCH_TEXTS: Final = ("organization_id", "project_id", "principal", "key_id", "name", "outcome", "device_kind")


def row_of(line: Line, writer: str) -> Row:
    """The row of a receipt, values in the order of `ROW`.

    Raises:
        JournalDamaged: the record lacks what every receipt has.
    """
    body = _storable(line.body) if b"\\u0000" in line.raw else line.body
    try:
        return _row(line, writer, body)
    except (KeyError, ValueError, TypeError) as exc:
        raise JournalDamaged(f"record {line.seq} of the journal is no receipt: {type(exc).__name__} {exc}") from exc


def _row(line: Line, writer: str, body: Plain) -> Row:
    get = body.get
    kind, source = _kind(body["route"])
    attempt, outcome = get("attempt", 0), body["outcome"]
    return (
        writer,
        line.seq,
        line.segment,
        line.offset,
        body["request_id"],
        micro_of(body["started_at"]),
        micro_of(body["ended_at"]),
        _key(get("organization_id", "")),
        _key(get("project_id", "")),
        _key(get("key_id", "")),
        _key(get("principal", "")),
        _key(get("deployment", "")),
        _key(get("model", "")),
        kind,
        _key(get("service_tier", "")),
        outcome,
        source,
        _size(get("parameters")) if source else "",
        1,
        1 if attempt or outcome == Outcome.INTERRUPTED else 0,
        get("prompt_tokens", 0),
        get("cached_tokens", 0),
        get("completion_tokens", 0),
        get("reasoning_tokens", 0),
        get("images", 0),
        get("cost_micro", 0),
        get("duration_us", 0),
        _key(get("end_user", "")),
        body["route"],
        body["dialect"],
        body["status"],
        attempt,
        get("error_code"),
        get("finish_reason"),
        get("auth_method"),
        get("requested"),
        get("spilled_from"),
        get("engine"),
        get("replica"),
        get("estimated", False),
        get("first_token_us"),
        get("per_token_us"),
        get("price_version"),
        get("excess_micro", 0),
        get("replay_of"),
    )


def action_of(line: Line, writer: str) -> Row:
    """The row of an administrative action, values in the order of `ACTION`.

    Raises:
        JournalDamaged: the record has no time.
    """
    body = _storable(line.body) if b"\\u0000" in line.raw else line.body
    names = ("organization_id", "resource_project_id", "event", "principal", "key_id", "resource_id")
    try:
        recorded_at = micro_of(line.at)
    except (ValueError, TypeError) as exc:
        raise JournalDamaged(f"record {line.seq} of the journal has no time: {exc}") from exc
    texts = [_key(value) if isinstance(value := body.get(name, ""), str) else "" for name in names]
    return (writer, line.seq, line.segment, line.offset, recorded_at, *texts, orjson.dumps(body).decode())


def stretch_of(line: Line, writer: str) -> Row:
    """The row of a stretch of a training, values in the order of `STRETCH`.

    Raises:
        JournalDamaged: the record lacks what every stretch has.
    """
    body = _storable(line.body) if b"\\u0000" in line.raw else line.body
    try:
        duration_us = body["duration_us"]
        return (
            writer,
            line.seq,
            line.segment,
            line.offset,
            _key(body["stretch_id"]),
            _key(body["training"]),
            micro_of(body["started_at"]),
            micro_of(body["ended_at"]),
            *(_key(body[name]) for name in _STRETCH_TEXTS),
            *(body[name] for name in ("processes", "devices", "core_milli", "memory_bytes", "step_from", "step_to")),
            duration_us,
            body["devices"] * duration_us,
            body["core_milli"] * duration_us // MILLI,
            body["tokens"],
            body["cost_micro"],
        )
    except (KeyError, ValueError, TypeError) as exc:
        raise JournalDamaged(f"record {line.seq} of the journal is no training: {type(exc).__name__} {exc}") from exc


def micro_of(at: str) -> int:
    """Microseconds since the epoch of a time as records have it."""
    return (datetime.fromisoformat(at) - _EPOCH) // _MICROSECOND


def _key(text: str) -> str:
    return text if len(text) <= MAX_KEY else text[:MAX_KEY]


@lru_cache(maxsize=256)
def _kind(route: str) -> tuple[str, str]:
    """What kind of usage a route is, and for pictures OpenAI's name of how they came to be."""
    parts = route.rstrip("/").split("/")
    if "organization" in parts:
        return "other", ""  # what asks for usage is none
    if parts[-1] in _IMAGES and "images" in parts:
        return "images", _IMAGES[parts[-1]]
    return _KINDS.get(parts[-1], "other"), ""


def _size(parameters: Any) -> str:
    size = parameters.get("size") if isinstance(parameters, dict) else None
    return _key(size) if isinstance(size, str) else ""


def _storable(body: Plain) -> Plain:
    """The body without the character NUL, which PostgreSQL's texts cannot hold."""
    return {name: value.replace("\0", "\ufffd") if isinstance(value, str) else value for name, value in body.items()}
