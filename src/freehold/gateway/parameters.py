"""What a receipt tells of a request's parameters: numbers and choices, never a text that the caller wrote.

Decimal numbers are text, as the journal holds integers only; of lists and schemas there is the count or the kind.
"""

from collections.abc import Mapping
from typing import Any

from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest
from freehold.types.embeddings import EmbeddingRequest
from freehold.types.images import ImageRequest, PaintRequest
from freehold.types.receipt import Scalar

_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "n", "stream", "logprobs")
_CHAT = (*_SAMPLING, "max_tokens", "max_completion_tokens", "top_logprobs", "parallel_tool_calls", "reasoning_effort")
_COMPLETION = (*_SAMPLING, "max_tokens", "best_of", "echo")
_IMAGE = (
    "quality",
    "style",
    "background",
    "moderation",
    "stream",
    "partial_images",
    "response_format",
    "output_format",
    "output_compression",
)
_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})


def chat_parameters(request: ChatRequest) -> dict[str, Scalar]:
    """The parameters of a chat completion."""
    found = _given(request, _CHAT)
    if found.get("reasoning_effort") not in _EFFORTS:
        found.pop("reasoning_effort", None)
    found |= _counted(stop=request.stop, logit_bias=request.logit_bias, tools=request.tools, messages=request.messages)
    if request.response_format is not None:
        found["response_format"] = request.response_format.type
    if request.tool_choice is not None:
        found["tool_choice"] = request.tool_choice if isinstance(request.tool_choice, str) else "function"
    return found


def completion_parameters(request: CompletionRequest) -> dict[str, Scalar]:
    """The parameters of a text completion."""
    return _given(request, _COMPLETION) | _counted(
        stop=request.stop, logit_bias=request.logit_bias, prompts=request.prompts
    )


def embedding_parameters(request: EmbeddingRequest) -> dict[str, Scalar]:
    """The parameters of embeddings."""
    return _given(request, ("dimensions", "encoding_format")) | _counted(inputs=request.inputs)


def image_parameters(request: ImageRequest, order: PaintRequest) -> dict[str, Scalar]:
    """The parameters of pictures: as they were given, and what was made of size, number and seed."""
    return _given(request, _IMAGE) | {"n": order.n, "size": order.size, "seed": order.seed}


def _given(request: Any, names: tuple[str, ...]) -> dict[str, Scalar]:
    """The scalars that the request sets."""
    given = request.model_fields_set  # of the others, which are most, each is None
    values = [(name, getattr(request, name)) for name in names if name in given]
    return {name: repr(value) if isinstance(value, float) else value for name, value in values if value is not None}


def _counted(**lists: str | list[Any] | Mapping[str, Any] | None) -> dict[str, Scalar]:
    """How many there are of each; a text alone is one."""
    return {name: 1 if isinstance(value, str) else len(value) for name, value in lists.items() if value is not None}
