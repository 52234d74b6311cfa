"""A way to one llama.cpp server: what it does differently from OpenAI, or only sometimes, is done here."""

import hashlib
import importlib.metadata
import json
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from freehold.engines import conversation
from freehold.engines import llamacpp_requests as requests
from freehold.engines.base import EngineSpec
from freehold.engines.openai_errors import error_object
from freehold.engines.openai_http import Deltas, OpenAIConnection, shortened, too_many_dimensions
from freehold.engines.openai_stream import StreamGrammar, completion_deltas
from freehold.engines.tool_calls import (
    CLOSER,
    OPENER,
    CallParser,
    allowed_tools,
    call_grammar,
    call_trigger,
    tagged_grammar,
)
from freehold.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    FreeholdError,
    InvalidRequest,
    UnsupportedParameter,
)
from freehold.types.address import Address
from freehold.types.chat import ChatRequest, FunctionDefinition
from freehold.types.completions import CompletionRequest, Prompt
from freehold.types.engine import EngineCounters, Feature, Traits
from freehold.types.generation import Delta, Embeddings, Event, TokenLogprob

NATIVE: Final = frozenset({"health", "props", "slots", "metrics", "apply-template", "tokenize"})
"""What llama.cpp's server has outside of `/v1`."""
PROBE_TIMEOUT_S: Final = 10.0
OPEN_TIMEOUT_S: Final = 5.0
DEFAULT_CONTEXT: Final = 2048
PATTERN_TRIGGER: Final = 2
"""llama.cpp's `COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN`: the grammar begins with what its first group matches."""
WRITING: Final = frozenset(
    {
        Feature.CHAT,
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


_TOKENS_TOTAL: Final = re.compile(rb"^llamacpp:(\w+?)_total (\d+)$", re.MULTILINE)
"""A counter of the server's `/metrics`; `prompt_tokens` are without those from the cache, which count apart."""
_TOO_LARGE: Final = re.compile(r"input \((\d+) tokens\) is too large to process.*batch size: (\d+)")
"""What llama.cpp says where an input to embed does not fit; it reads each in one piece."""


class UnreadableAnswer(EngineFailed):
    """llama.cpp could not read the model's own text as an answer with tool calls."""


class LlamaCppConnection(OpenAIConnection):
    """A way to one llama.cpp server.

    Args:
        spec: what the server was started for.
        socket: where it listens.
    """

    def __init__(self, spec: EngineSpec, socket: Address) -> None:
        super().__init__(model=spec.settings.name, socket=socket)
        self._spec = spec
        self._address = socket
        self._made_at = time.time()
        self._traits = Traits(frozenset())
        self._vocabulary = 0
        self._tagged = False
        self._thinks = False

    def url(self, operation: str) -> str:
        """See `OpenAIConnection.url`."""
        return f"{self.root}/{operation}" if operation in NATIVE else super().url(operation)

    def headers(self) -> Mapping[str, str]:
        """See `OpenAIConnection.headers`.

        The server ends a connection after a stream though it promises to keep it, and gives each that is kept a
        thread; a new one costs next to nothing on a Unix socket.
        """
        return {"connection": "close"}

    async def open(self) -> Traits:
        """See `Connection.open`."""
        try:
            await self.fetch("GET", self.url("health"), timeout_s=OPEN_TIMEOUT_S)
            props = await self.fetch("GET", self.url("props"), timeout_s=OPEN_TIMEOUT_S)
            models = await self.fetch("GET", self.url("models"), timeout_s=OPEN_TIMEOUT_S)
        except EngineTimeout as exc:
            raise EngineUnavailable("the engine did not answer in time") from exc
        try:
            meta = models["data"][0]["meta"]
            self._vocabulary = int(meta["n_vocab"])
            context_length = int(props["default_generation_settings"]["n_ctx"])
            dimensions = int(meta["n_embd"])
            slots = int(props["total_slots"])
            tools = bool(props["chat_template_caps"].get("supports_tools"))
            vision = bool(props["modalities"].get("vision"))
            template = props.get("chat_template") or ""
            self._tagged, self._thinks = OPENER in template, "<think>" in template
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
            raise EngineFailed("the engine's description of itself cannot be read") from exc
        embeddings = self._spec.settings.task == "embeddings"
        extra = {Feature.TOOLS: tools, Feature.VISION: vision}
        features = EMBEDDING if embeddings else WRITING | {feature for feature, there in extra.items() if there}
        self._traits = Traits(
            features=frozenset(features),
            context_length=context_length,
            embedding_dimensions=dimensions if embeddings else None,
            fingerprint=_fingerprint(self._spec),
            parallel=slots,
            template_sha256=None if embeddings else hashlib.sha256(template.encode()).hexdigest(),
        )
        return self._traits

    async def check(self) -> None:
        """See `Connection.check`. The slots are told by the loop that generates, so that a hung one shows."""
        try:
            await self.fetch("GET", self.url("health"), timeout_s=PROBE_TIMEOUT_S)
            await self.fetch("GET", self.url("slots"), timeout_s=PROBE_TIMEOUT_S)
        except (EngineTimeout, EngineFailed) as exc:
            raise EngineUnavailable("the engine does not answer") from exc

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """See `Connection.count_tokens`. What a picture comes to only the model itself can say."""
        if conversation.has_pictures(request):
            return None
        body = {"content": await self._prompt(request), "add_special": True, "parse_special": True}
        answer = await self.fetch("POST", self.url("tokenize"), body, param="messages")
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(tokens, list):
            raise EngineFailed("the engine's tokens cannot be read")
        return len(tokens)

    async def counters(self) -> EngineCounters:
        """See `Connection.counters`. llama.cpp counts tokens as it works, those of requests that break off included."""
        raw = await self.fetch_raw("GET", self.url("metrics"), None, timeout_s=PROBE_TIMEOUT_S)
        since = self._started_at()
        found = {name.decode(): int(value) for name, value in _TOKENS_TOTAL.findall(raw)}
        try:
            prompt_tokens = found["prompt_tokens"] + found["prompt_tokens_cached"]
            return EngineCounters(since, None, prompt_tokens, found["tokens_predicted"])
        except KeyError as exc:
            raise EngineFailed("the engine's counters cannot be read") from exc

    def _started_at(self) -> float:
        """When the engine began: its socket was bound then, and on another machine this connection was made."""
        if not isinstance(self._address, Path):
            return self._made_at
        try:
            return self._address.stat().st_mtime  # the server's own time has another origin
        except OSError as exc:
            raise EngineUnavailable("the engine has gone") from exc

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Event]:
        """See `Connection.chat`."""
        functions, demanded = allowed_tools(request), conversation.demands_call(request)
        if request.tools and not functions and request.tool_choice != "none":
            raise InvalidRequest("Invalid value for 'tool_choice': no tool has that name.", param="tool_choice")
        if functions and (demanded or (self._tagged and not self._thinks)) and not conversation.has_pictures(request):
            stream = self._chat_with_calls(request, functions, demanded=demanded)
        elif functions:
            stream = self._chat_natively(request, demanded=demanded)
        else:
            stream = self._plain_chat(request)
        async with aclosing(stream):
            async for event in stream:
                yield event

    def chat_body(self, request: ChatRequest) -> dict[str, Any]:
        """See `OpenAIConnection.chat_body`."""
        body = requests.sampling(request, self._vocabulary)
        body["messages"] = conversation.messages(request)
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": max(request.top_logprobs or 0, 1)}
        grammar = conversation.response_grammar(request, self._answer_tokens(request))
        if grammar is not None:
            body["grammar"] = grammar
        return _limited(body, request.completion_limit)

    def completion_body(self, request: CompletionRequest, prompt: Prompt) -> dict[str, Any]:
        """See `OpenAIConnection.completion_body`."""
        body = requests.sampling(request, self._vocabulary)
        body["prompt"] = prompt
        if request.logprobs is not None:
            body["logprobs"] = max(request.logprobs, 1)
        return _limited(body, request.max_tokens)

    async def complete(self, request: CompletionRequest, prompt: Prompt) -> AsyncGenerator[Event]:
        """See `Connection.complete`."""
        stream = super().complete(request, prompt)
        async with aclosing(stream):
            async for event in stream:
                yield _cut(event, request.logprobs or 0)

    async def embed(self, inputs: Sequence[Prompt], dimensions: int | None) -> Embeddings:
        """See `Connection.embed`."""
        native = self._traits.embedding_dimensions
        if dimensions is not None and native is not None and dimensions > native:
            raise too_many_dimensions(dimensions, native)
        found = await super().embed(inputs, None)
        if dimensions is None or dimensions == native:
            return found
        return Embeddings(tuple(shortened(vector, dimensions) for vector in found.vectors), found.usage)

    def translate(self, status: int, body: bytes, headers: Mapping[str, str], *, param: str) -> FreeholdError:
        """See `OpenAIConnection.translate`."""
        try:
            error = error_object(json.loads(body))
        except ValueError:
            error = {}
        own = self.translate_object(error, param=param) if status in {400, 500} and error else None
        return own or super().translate(status, body, headers, param=param)

    def translate_object(self, error: Mapping[str, Any], *, param: str) -> FreeholdError:
        """See `OpenAIConnection.translate_object`."""
        if "output that does not match" in str(error.get("message")):
            return UnreadableAnswer("the model's answer cannot be read")
        large = _TOO_LARGE.match(str(error.get("message")))
        if large:
            limit = self._traits.context_length or int(large[2])
            return ContextLengthExceeded(limit=limit, requested=int(large[1]), param=param)
        if error.get("message") == "Prompt contains invalid tokens":
            return InvalidRequest(f"Invalid '{param}': it has a token id that this model does not know.", param=param)
        return super().translate_object(error, param=param)

    # Inside

    async def _plain_chat(self, request: ChatRequest) -> AsyncGenerator[Event]:
        """Without tools: llama.cpp's own chat."""
        stream = super().chat(request)
        async with aclosing(stream):
            async for event in stream:
                yield _cut(event, request.top_logprobs or 0)

    async def _chat_with_calls(
        self, request: ChatRequest, functions: Sequence[FunctionDefinition], *, demanded: bool
    ) -> AsyncGenerator[Event]:
        """With tools: the template is applied first, then the text that follows is held to the calls' grammar.

        Args:
            request: what the caller wants.
            functions: those that may be called.
            demanded: there must be a call, and nothing else.
        """
        tokens = self._answer_tokens(request)
        body = requests.sampling(request, self._vocabulary)
        body["prompt"] = await self._prompt(request)
        if demanded:
            body["grammar"] = call_grammar(functions, tokens)
            body.pop("stop", None)  # it would break the call
        else:
            body["grammar"] = tagged_grammar(functions, request, tokens)
            if conversation.response_grammar(request, tokens) is None:
                body |= {"grammar_lazy": True, "grammar_triggers": [{"type": PATTERN_TRIGGER, "value": call_trigger()}]}
        body["preserved_tokens"] = [OPENER, CLOSER]
        if request.logprobs:
            body["logprobs"] = max(request.top_logprobs or 0, 1)
        reader = _CallReader(CallParser(tagged=not demanded))
        async with aclosing(self._text(_limited(body, request.completion_limit), reader.deltas)) as stream:
            async for event in stream:
                yield _cut(event, request.top_logprobs or 0)

    async def _chat_natively(self, request: ChatRequest, *, demanded: bool) -> AsyncGenerator[Event]:
        """With tools, in whatever way the model's own template writes calls; llama.cpp reads them."""
        if demanded:
            raise UnsupportedParameter("A demanded tool call cannot be combined with pictures.", param="tool_choice")
        body = self.chat_body(request)
        if "grammar" in body:
            raise UnsupportedParameter(
                "This deployment's model cannot combine 'tools' with JSON in 'response_format'.",
                param="response_format",
            )
        body["tools"] = conversation.tools(request)
        body["parallel_tool_calls"] = request.parallel_tool_calls is not False
        grammar = StreamGrammar(1, self._answer_tokens(request))
        begun = False
        try:
            stream = self._stream("chat/completions", lambda: body, self.chat_deltas, grammar, "messages")
            async with aclosing(stream):
                async for event in stream:
                    begun = True
                    yield _cut(event, request.top_logprobs or 0)
        except UnreadableAnswer:
            if begun:  # the text so far stands; what could not be read is left out
                for event in grammar.close(clean=True):
                    yield event
                return
            body = requests.sampling(request, self._vocabulary) | {"prompt": await self._prompt(request)}
            async with aclosing(self._text(_limited(body, request.completion_limit), completion_deltas)) as text:
                async for event in text:
                    yield event

    async def _text(self, body: dict[str, Any], deltas: Deltas) -> AsyncGenerator[Event]:
        """Continue a prompt that was made from the conversation."""
        grammar = StreamGrammar(1, len(body["prompt"]) // 4)
        stream = self._stream("completions", lambda: body, deltas, grammar, "messages")
        async with aclosing(stream):
            async for event in stream:
                yield event

    async def _prompt(self, request: ChatRequest) -> str:
        """The conversation and its tools in the model's template, and the beginning of a call that is demanded."""
        body = {
            "messages": conversation.messages(request),
            "tools": conversation.tools(request) if allowed_tools(request) else [],
        }
        answer = await self.fetch("POST", self.url("apply-template"), body, param="messages")
        prompt = answer.get("prompt") if isinstance(answer, dict) else None
        if not isinstance(prompt, str):
            raise EngineFailed("the engine's prompt cannot be read")
        return f"{prompt}{OPENER}\n" if self._tagged and conversation.demands_call(request) else prompt

    def _answer_tokens(self, request: ChatRequest) -> int:
        return conversation.answer_tokens(request, self._traits.context_length or DEFAULT_CONTEXT)


class _CallReader:
    """Turns the chunks of a text completion into deltas with tool calls."""

    def __init__(self, parser: CallParser) -> None:
        self._parser = parser
        self._logprobs: list[TokenLogprob] = []

    def deltas(self, chunk: Mapping[str, Any]) -> list[Delta]:
        """See `OpenAIConnection.completion_deltas`. Log probabilities go with the text that they belong to."""
        found: list[Delta] = []
        for delta in completion_deltas(chunk):
            text, calls = self._parser.feed(delta.text)
            self._logprobs += delta.logprobs
            finish = delta.finish_reason
            if finish is not None:
                text += self._parser.rest()
                if finish == "stop" and self._parser.calls:
                    finish = "length" if self._parser.within else "tool_calls"  # a stop sequence may cut a call off
            logprobs: tuple[TokenLogprob, ...] = ()
            if text:
                logprobs, self._logprobs = tuple(self._logprobs), []
            if text or calls or finish:
                found.append(replace(delta, text=text, tool_calls=calls, logprobs=logprobs, finish_reason=finish))
        return found


def _limited(body: dict[str, Any], limit: int | None) -> dict[str, Any]:
    """The body with the most tokens to produce; without one, to the end of the context."""
    return body | {"max_tokens": -1 if limit is None else limit}


def _cut(event: Event, top: int) -> Event:
    """The event with at most so many alternatives for each token: llama.cpp gives at least one."""
    if not isinstance(event, Delta) or not event.logprobs:
        return event
    return replace(event, logprobs=tuple(replace(token, top=token.top[:top]) for token in event.logprobs))


def _fingerprint(spec: EngineSpec) -> str:
    """Names the versions of llama.cpp and the weights, and the options that change what is computed."""
    version = importlib.metadata.version("xllamacpp")
    options = json.dumps(spec.settings.options, sort_keys=True)
    text = f"llamacpp {version} {spec.weights_sha256} {options}"
    return f"fp_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
