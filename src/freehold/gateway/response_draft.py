"""A response while it is made: the object of OpenAI's specification (`Response`), and what changes of it."""

import time
from collections.abc import Mapping
from typing import Any, Final

from freehold.errors import ContentFiltered, FreeholdError, InvalidRequest, NotFound, RateLimited
from freehold.gateway.validation import TIERS
from freehold.types.engine import Tier
from freehold.types.generation import Usage
from freehold.types.responses import ResponseRequest

OPEN: Final = frozenset({"queued", "in_progress"})
"""States of a response that is not done."""
INTERRUPTED: Final = "The server stopped making this response before it came to its end. Send the request again."


class Draft:
    """A response that is being made.

    Args:
        request: what is asked.
        response_id: names it.
        model: the deployment's name, or what the caller called it while that is not known.
    """

    def __init__(self, request: ResponseRequest, response_id: str, model: str) -> None:
        self.id = response_id
        self.model = model
        self.status = "queued" if request.background else "in_progress"
        self.output: list[dict[str, Any]] = []
        self.usage: Usage | None = None
        self.error: dict[str, str] | None = None
        self.reason: str | None = None
        """Why it is incomplete."""
        self._completed_at: int | None = None
        self._fixed = _as_asked(request) | {"created_at": int(time.time())}

    def complete(self) -> None:
        """It has come to its end, be it a natural one or not."""
        self.status = "completed" if self.reason is None else "incomplete"
        if self.reason is None:
            self._completed_at = int(time.time())

    def fail(self, error: FreeholdError) -> None:
        """It ends with an error."""
        self.status = "failed"
        message = error.message
        if isinstance(error, ContentFiltered):
            message += _found(error.results)
        self.error = {"code": _error_code(error), "message": message}

    def cancel(self) -> None:
        """Its caller has given it up."""
        self.status = "cancelled"

    def resource(self, output: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """The response as callers see it now, with this output instead of what there is, if given."""
        return {
            "id": self.id,
            "object": "response",
            "status": self.status,
            "completed_at": self._completed_at,
            "error": self.error,
            "incomplete_details": None if self.reason is None else {"reason": self.reason},
            "model": self.model,
            "output": [dict(item) for item in self.output] if output is None else output,
            **({} if self.usage is None else {"usage": usage_object(self.usage)}),
            **self._fixed,
        }


def interrupted(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A response that was being made when the server ended."""
    return {**resource, "status": "failed", "error": {"code": "server_error", "message": INTERRUPTED}}


def usage_object(usage: Usage) -> dict[str, Any]:
    """`ResponseUsage`."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def added(one: Usage | None, other: Usage) -> Usage:
    """The usage of two calls together."""
    if one is None:
        return other
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        estimated=one.estimated or other.estimated,
    )


def _error_code(error: FreeholdError) -> str:
    """An error in the few words that the specification has for a response's."""
    match error:
        case RateLimited():
            return "rate_limit_exceeded"
        case ContentFiltered() | InvalidRequest() | NotFound():
            return "invalid_prompt"
    return "server_error"


def _found(results: Mapping[str, Any]) -> str:
    """What the content filter holds against a prompt, in words: a response's error has no place for annotations."""
    found = [
        f"{name} ({each['severity']})" if "severity" in each else name
        for name, each in results.items()
        if each.get("filtered")
    ]
    return f" Found: {', '.join(found)}." if found else ""


def _as_asked(request: ResponseRequest) -> dict[str, Any]:
    """What a response says of its request."""
    given = request.model_dump(mode="json", by_alias=True, exclude_none=True)
    text = given.get("text", {})
    reasoning = given.get("reasoning", {})
    found: dict[str, Any] = {
        "background": bool(request.background),
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": TIERS.get(request.service_tier, Tier.DEFAULT).value,
        "temperature": request.temperature,
        "text": {"format": text.get("format", {"type": "text"})},
        "tool_choice": given.get("tool_choice", "auto"),
        "tools": [_tool(tool) for tool in given.get("tools", [])],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": request.top_p,
        "truncation": request.truncation or "disabled",
    }
    if request.conversation_id is not None:
        found["conversation"] = {"id": request.conversation_id}
    return found | {name: given[name] for name in ("user", "safety_identifier", "prompt_cache_key") if name in given}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as it is told: never with what authorizes its calls, and of functions everything that there is to say."""
    if tool["type"] == "function":
        return {"parameters": None, "strict": False, **tool}
    return {name: value for name, value in tool.items() if name not in {"authorization", "headers"}}
