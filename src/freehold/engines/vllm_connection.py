"""A way to one vLLM server. What vLLM does otherwise than OpenAI is done here.

Its API: https://docs.vllm.ai/en/stable/serving/openai_compatible_server/, its metrics:
https://docs.vllm.ai/en/stable/usage/metrics/. Of `n` it makes as many requests itself, so the gateway asks for each
sequence, as of other engines; a prompt that was just read is in vLLM's cache.
"""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from freehold.catalog.folders import has_template, read_config
from freehold.engines import conversation
from freehold.engines.base import EngineSpec
from freehold.engines.openai_http import OpenAIConnection, shortened, too_many_dimensions
from freehold.engines.openai_transport import NONSENSE
from freehold.engines.tool_calls import allowed_tools
from freehold.engines.vllm_arguments import DEFAULT_PARALLEL, MAX_TOP_LOGPROBS, SERVED, SERVED_ADAPTER
from freehold.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    FreeholdError,
    InvalidRequest,
    UnsupportedModelFormat,
)
from freehold.types.address import Address
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest, Prompt
from freehold.types.engine import EngineCounters, Feature, Traits
from freehold.types.generation import Delta, Embeddings, Event

OUTSIDE: Final = frozenset({"health", "metrics", "tokenize", "version"})
"""What vLLM's server has outside of `/v1`."""
PROBE_TIMEOUT_S: Final = 10.0
OPEN_TIMEOUT_S: Final = 5.0
STUCK_S: Final = 300.0
"""Without a step for so long, though requests run, the engine hangs: no step of a model takes as long."""
SAMPLING: Final = {"temperature", "top_p", "frequency_penalty", "presence_penalty", "stop", "seed", "logit_bias"}
"""The parameters that go to vLLM under OpenAI's names."""
WRITING: Final = frozenset(
    {
        Feature.COMPLETION,
        Feature.SEED,
        Feature.STOP,
        Feature.PENALTIES,
        Feature.LOGPROBS,
        Feature.LOGIT_BIAS,
        Feature.JSON_OBJECT,
        Feature.JSON_SCHEMA,
        Feature.TOKEN_PROMPT,
    }
)
EMBEDDING: Final = frozenset({Feature.EMBEDDINGS, Feature.TOKEN_PROMPT, Feature.DIMENSIONS})

_METRIC: Final = re.compile(rb"^([a-z_:]+)(?:\{[^}]*\})? ([0-9.eE+-]+)$", re.MULTILINE)
_LIMIT: Final = re.compile(r"(?:context length is(?: only)?|maximum model length of) (\d+)")
_INPUT: Final = re.compile(
    r"(?:passed|has|contains(?: at least)?|requested) (\d+) (?:input tokens|tokens in the)|\(length (\d+)\)"
)
_CHARACTERS: Final = re.compile(r"passed (\d+) input characters")
_OUTPUT: Final = re.compile(r"requested (\d+) output tokens|is too large: (\d+)")


class VllmConnection(OpenAIConnection):
    """A way to one vLLM server.

    Args:
        spec: what the server was started for.
        socket: where it listens.
        declared: the features that it has by its options.
        stuck_s: after how long without a step, though requests run, it counts as hung.
    """

    def __init__(
        self, spec: EngineSpec, socket: Address, declared: frozenset[Feature], *, stuck_s: float = STUCK_S
    ) -> None:
        adapted = spec.adapter is not None or "lora" in spec.settings.options
        super().__init__(model=SERVED_ADAPTER if adapted else SERVED, socket=socket)
        self._spec = spec
        self._declared = declared
        self._stuck_s = stuck_s
        self._steps = (-1.0, time.monotonic())

    def url(self, operation: str) -> str:
        """See `OpenAIConnection.url`."""
        return f"{self.root}/{operation}" if operation in OUTSIDE else super().url(operation)

    async def open(self) -> Traits:
        """See `Connection.open`."""
        try:
            await self.fetch_raw("GET", self.url("health"), None, timeout_s=OPEN_TIMEOUT_S)
            models = await self.fetch("GET", self.url("models"), timeout_s=OPEN_TIMEOUT_S)
            version = await self.fetch("GET", self.url("version"), timeout_s=OPEN_TIMEOUT_S)
        except EngineTimeout as exc:
            raise EngineUnavailable("the engine did not answer in time") from exc
        try:
            lengths = {model["id"]: model.get("max_model_len") for model in models["data"]}
            context_length = int(lengths[SERVED])
            served = self._model in lengths
            name = str(version["version"])
        except NONSENSE as exc:
            raise EngineFailed("the engine's description of itself cannot be read") from exc
        if not served:
            raise EngineFailed("the engine has not loaded the adapter; its log says why")
        return Traits(
            features=await asyncio.to_thread(self._features),
            context_length=context_length,
            fingerprint=_fingerprint(self._spec, name),
            parallel=self._spec.settings.parallel or DEFAULT_PARALLEL,
        )

    def _features(self) -> frozenset[Feature]:
        """What the model's files and the options say that it does; the options alone where the files are elsewhere."""
        if self._spec.settings.task == "embeddings":
            return EMBEDDING
        weights = self._spec.weights
        if weights is None:
            return WRITING | self._declared
        try:
            sees = "vision_config" in read_config(weights)
        except UnsupportedModelFormat as exc:
            raise EngineFailed("the model's configuration cannot be read") from exc
        converses = "chat_template" in self._spec.settings.options or has_template(weights)
        extra = {Feature.CHAT: converses, Feature.VISION: sees}
        return WRITING | self._declared | {feature for feature, there in extra.items() if there}

    async def check(self) -> None:
        """See `Connection.check`. A hung engine has requests that run and takes no more steps."""
        try:
            await self.fetch_raw("GET", self.url("health"), None, timeout_s=PROBE_TIMEOUT_S)
            found = await self._metrics()
        except (EngineTimeout, EngineFailed) as exc:
            raise EngineUnavailable("the engine does not answer") from exc
        steps, now = found.get("vllm:iteration_tokens_total_count", -1.0), time.monotonic()
        if steps != self._steps[0] or not found.get("vllm:num_requests_running"):
            self._steps = (steps, now)
        elif now - self._steps[1] > self._stuck_s:
            raise EngineUnavailable("the engine has stopped computing")

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """See `Connection.count_tokens`. What a picture comes to only the model itself can say."""
        if conversation.has_pictures(request):
            return None
        body = {"model": self._model, "messages": conversation.messages(request), **_tools(request)}
        body.pop("tool_choice", None)
        answer = await self.fetch("POST", self.url("tokenize"), body, param="messages")
        count = answer.get("count") if isinstance(answer, dict) else None
        if not isinstance(count, int):
            raise EngineFailed("the engine's tokens cannot be read")
        return count

    async def counters(self) -> EngineCounters:
        """See `Connection.counters`. vLLM counts tokens as it works, those of requests that break off included."""
        found = await self._metrics()
        try:
            return EngineCounters(
                since=found["process_start_time_seconds"],
                requests=None,
                prompt_tokens=int(found["vllm:prompt_tokens_total"]),
                completion_tokens=int(found["vllm:generation_tokens_total"]),
            )
        except KeyError as exc:
            raise EngineFailed("the engine's counters cannot be read") from exc

    async def _metrics(self) -> dict[str, float]:
        """The metrics of the server, those of several engines or reasons added up."""
        raw = await self.fetch_raw("GET", self.url("metrics"), None, timeout_s=PROBE_TIMEOUT_S)
        found: dict[str, float] = {}
        for name, value in _METRIC.findall(raw):
            found[name.decode()] = found.get(name.decode(), 0.0) + float(value)
        return found

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Event]:
        """See `Connection.chat`."""
        if request.tools and not allowed_tools(request) and request.tool_choice != "none":
            raise InvalidRequest("Invalid value for 'tool_choice': no tool has that name.", param="tool_choice")
        async with aclosing(super().chat(request)) as stream:
            async for event in stream:
                yield _likeliest(event, request.top_logprobs or 0)

    async def complete(self, request: CompletionRequest, prompt: Prompt) -> AsyncGenerator[Event]:
        """See `Connection.complete`."""
        async with aclosing(super().complete(request, prompt)) as stream:
            async for event in stream:
                yield _likeliest(event, request.logprobs or 0)

    def chat_body(self, request: ChatRequest) -> dict[str, Any]:
        """See `OpenAIConnection.chat_body`."""
        body = request.model_dump(exclude_none=True, include=SAMPLING)
        body |= {"model": self._model, "messages": conversation.messages(request), **_tools(request)}
        if request.response_format is not None and request.response_format.type != "text":
            body["response_format"] = request.response_format.model_dump(exclude_none=True, by_alias=True)
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": _asked(request.top_logprobs)}
        if request.reasoning_effort is not None and Feature.REASONING in self._declared:
            body["reasoning_effort"] = request.reasoning_effort
        return self._finish_body(body, "max_completion_tokens", request.completion_limit)

    def completion_body(self, request: CompletionRequest, prompt: Prompt) -> dict[str, Any]:
        """See `OpenAIConnection.completion_body`. Without a limit to the context's end; vLLM's own is 16 tokens."""
        body = request.model_dump(exclude_none=True, include=SAMPLING)
        body |= {"model": self._model, "prompt": prompt, "max_tokens": None}
        if request.logprobs is not None:
            body["logprobs"] = _asked(request.logprobs)
        return self._finish_body(body, "max_tokens", request.max_tokens)

    async def embed(self, inputs: Sequence[Prompt], dimensions: int | None) -> Embeddings:
        """See `Connection.embed`. vLLM shortens vectors of few models only."""
        found = await super().embed(inputs, None)
        native = len(found.vectors[0]) if found.vectors else 0
        if dimensions is None or dimensions == native:
            return found
        if dimensions > native:
            raise too_many_dimensions(dimensions, native)
        return Embeddings(tuple(shortened(vector, dimensions) for vector in found.vectors), found.usage)

    def translate(self, status: int, body: bytes, headers: Mapping[str, str], *, param: str) -> FreeholdError:
        """See `OpenAIConnection.translate`."""
        return self._too_long(body.decode("utf-8", "replace"), param) or super().translate(
            status, body, headers, param=param
        )

    def translate_object(self, error: Mapping[str, Any], *, param: str) -> FreeholdError:
        """See `OpenAIConnection.translate_object`."""
        return self._too_long(str(error.get("message")), param) or super().translate_object(error, param=param)

    def _too_long(self, message: str, param: str) -> FreeholdError | None:
        """The error for a prompt that does not fit, of which vLLM tells in several ways; None for other messages."""
        limit = _LIMIT.search(message)
        if limit is None:
            return None
        told, characters, output = _INPUT.search(message), _CHARACTERS.search(message), _OUTPUT.search(message)
        if told is not None:
            needed = _number(told) + (_number(output) if output else 0)
        elif characters is not None:  # not even counted
            needed = int(characters[1]) // 4
        else:
            return None
        return ContextLengthExceeded(limit=int(limit[1]), requested=max(needed, int(limit[1]) + 1), param=param)


def _number(found: re.Match[str]) -> int:
    """The number of whichever way it was said in."""
    return int(next(group for group in found.groups() if group is not None))


def _tools(request: ChatRequest) -> dict[str, Any]:
    """The tools and the choice among them; none where none may be called, for the model then need not read them."""
    if not allowed_tools(request):
        return {}
    choice = request.tool_choice or "auto"
    body: dict[str, Any] = {
        "tools": conversation.tools(request),
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(exclude_none=True),
    }
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    return body


def _asked(top: int | None) -> int:
    """How many likely tokens to ask for: one more, for vLLM counts the one that was chosen among them."""
    return min(top + 1, MAX_TOP_LOGPROBS + 1) if top else 0


def _likeliest(event: Event, top: int) -> Event:
    """The event with the likeliest tokens alone, the likeliest first: vLLM puts the one that was chosen before them."""
    if not isinstance(event, Delta) or not event.logprobs:
        return event
    return replace(
        event,
        logprobs=tuple(
            replace(token, top=tuple(sorted(token.top, key=lambda each: -each.logprob)[:top]))
            for token in event.logprobs
        ),
    )


def _fingerprint(spec: EngineSpec, version: str) -> str:
    """Names the versions of vLLM and the weights, and the options that change what is computed."""
    options = json.dumps(spec.settings.options, sort_keys=True)
    text = f"vllm {version} {spec.weights_sha256} {options}"
    return f"fp_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
