"""What an OpenAI-compatible server says when it fails, as the errors of Freehold.

The message of a refused value (400, 422) is the engine's own, less addresses and paths: it tells the caller what
to change. Of all else the caller learns only what happened; the details are the operator's.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from freehold.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    FreeholdError,
    InvalidRequest,
)

MAX_MESSAGE = 600
"""Characters of an engine's message that a caller is shown."""
MAX_RETRY_AFTER_S = 3600.0

_ADDRESS = re.compile(
    r"\b(?:https?|unix|file)://\S+"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    r"|\blocalhost:\d+\b"
    r"|(?<![\w/.])/(?:data|etc|home|lib|media|mnt|opt|private|proc|root|run|srv|tmp|usr|var|work|Users|Volumes)/\S+"
)
_CONTEXT_LIMIT = re.compile(r"context length is (?:only )?(\d+)")
_CONTEXT_NEED = re.compile(
    r"(?:you requested|resulted in|request (?:has|needs)|prompt contains(?: at least)?) (?:about )?(\d+)"
)

_TELLING: Mapping[int, tuple[type[FreeholdError], str]] = {
    401: (EngineFailed, "the endpoint refused the deployment's credential"),
    403: (EngineFailed, "the endpoint refused the deployment's credential"),
    404: (EngineFailed, "the endpoint does not have the deployment's model"),
    408: (EngineTimeout, "the engine did not answer in time"),
    429: (EngineUnavailable, "the engine takes no more requests for now"),
    503: (EngineUnavailable, "the engine is not ready to take requests"),
    504: (EngineTimeout, "the engine did not answer in time"),
}


def translate_error(status: int, body: bytes, headers: Mapping[str, str], *, param: str) -> FreeholdError:
    """The error that an answer with a status other than 200 stands for.

    Args:
        status: the HTTP status.
        body: as much of the answer as was read.
        headers: the answer's headers, names in any case where the mapping ignores it.
        param: the parameter that holds the prompt, for a prompt that is too long.
    """
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        decoded = None
    if status == 429:
        return EngineUnavailable(_TELLING[status][1], retry_after_s=_retry_after(headers))
    return translate_error_object(status, error_object(decoded), param=param)


def error_object(decoded: Any) -> dict[str, Any]:
    """The error in an answer: `{"error": {…}}` as OpenAI writes it, `{"error": "…"}`, or a bare object."""
    if not isinstance(decoded, dict):
        return {}
    error = decoded.get("error", decoded)
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else {}


def status_of(error: Mapping[str, Any]) -> int:
    """The HTTP status that an error within a stream would have had."""
    for name in ("code", "status"):
        code = error.get(name)
        if isinstance(code, str) and code.isdecimal():
            code = int(code)
        if isinstance(code, int) and 400 <= code <= 599:
            return code
    kind = str(error.get("type") or "")
    refused = kind in {"invalid_request_error", "exceed_context_size_error", "BadRequestError"}
    return 400 if refused or error.get("code") == "context_length_exceeded" else 500


def translate_error_object(status: int, error: Mapping[str, Any], *, param: str) -> FreeholdError:
    """The error that an OpenAI error object with this status stands for; arguments as `translate_error`."""
    if status in {400, 413, 422}:
        return _refusal(error, param)
    if status in _TELLING:
        kind, message = _TELLING[status]
        return kind(message)
    if 300 <= status < 400:
        return EngineFailed("the endpoint answered with a redirect, which is never followed")
    return EngineFailed(f"the engine failed with status {status}")


def _refusal(error: Mapping[str, Any], param: str) -> FreeholdError:
    """The error for a value that the engine does not take."""
    raw = error.get("message")
    message = raw if isinstance(raw, str) else ""
    code = error.get("code")
    too_long = code == "context_length_exceeded" or error.get("type") == "exceed_context_size_error"
    if too_long or "maximum context length" in message:
        limit = _number(error.get("n_ctx"), _CONTEXT_LIMIT, message)
        requested = _number(error.get("n_prompt_tokens"), _CONTEXT_NEED, message)
        if limit is not None and requested is not None:
            return ContextLengthExceeded(limit=limit, requested=requested, param=param)
    named = error.get("param")
    return InvalidRequest(
        presentable(message) or "the engine refused the request",
        param=named if isinstance(named, str) else param if too_long else None,
        code="context_length_exceeded" if too_long else code if isinstance(code, str) and code else None,
    )


def _number(given: Any, pattern: re.Pattern[str], message: str) -> int | None:
    """A count that the error gives as a field or, failing that, in its message."""
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    found = pattern.search(message)
    return int(found[1]) if found else None


def presentable(message: str) -> str:
    """An engine's message as a caller may see it: one line, bounded, without addresses and paths."""
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    line = _ADDRESS.sub("[withheld]", line)
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or a date); 5 where neither says."""
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after", "")
    try:
        seconds = float(milliseconds) / 1000 if milliseconds else float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return 5.0
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if seconds == seconds else 5.0  # noqa: PLR0124  # NaN
