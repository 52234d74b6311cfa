"""What an engine is asked for a request: with the deployment's defaults, and once for each sequence it makes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from freehold.catalog.deployments import Deployment
from freehold.types.chat import ChatRequest, JsonObjectFormat, JsonSchemaFormat
from freehold.types.completions import CompletionRequest
from freehold.types.generation import Delta, Event, Usage

DEFAULT_COMPLETION_TOKENS = 16
"""`max_tokens` of a text completion that names none, as in OpenAI's specification, whatever the deployment's."""


def with_defaults(request: ChatRequest | CompletionRequest, deployment: Deployment) -> dict[str, Any]:
    """The deployment's values for sampling parameters that the request leaves out."""
    defaults = deployment.settings.defaults
    update: dict[str, Any] = {}
    if defaults.temperature is not None and request.temperature is None:
        update["temperature"] = defaults.temperature
    if defaults.top_p is not None and request.top_p is None:
        update["top_p"] = defaults.top_p
    if not _wants_data(request):
        if defaults.frequency_penalty is not None and request.frequency_penalty is None:
            update["frequency_penalty"] = defaults.frequency_penalty
        if defaults.presence_penalty is not None and request.presence_penalty is None:
            update["presence_penalty"] = defaults.presence_penalty
    if isinstance(request, ChatRequest) and defaults.max_tokens is not None and request.completion_limit is None:
        update["max_completion_tokens"] = defaults.max_tokens
    return update


def _wants_data(request: ChatRequest | CompletionRequest) -> bool:
    """Whether the answer is data under a schema rather than prose."""
    if isinstance(request, CompletionRequest):
        return False
    return isinstance(request.response_format, JsonObjectFormat | JsonSchemaFormat) or bool(request.tools)


def copy_of(request: ChatRequest | CompletionRequest, copy: int, copies: int) -> dict[str, Any]:
    """What the copy-th of several calls for one request changes: one sequence, and a seed of its own."""
    if copies == 1:
        return {}
    return {"n": None, "seed": None if request.seed is None else request.seed + copy}


async def nothing_but_usage(stream: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """For `max_tokens: 0`: what the prompt costs, and an empty completion."""
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, Usage):
                yield Delta(finish_reason="length")
                yield Usage(prompt_tokens=event.prompt_tokens, cached_tokens=event.cached_tokens)
