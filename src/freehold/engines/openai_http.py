"""A connection to any server that speaks the OpenAI API over HTTP, on a Unix socket or over TCP.

One client for every engine: pooled, kept alive, always streaming, so that a caller who goes stops the engine. It
does not know which server it talks to: what differs is in small methods that a subclass overrides. A subclass adds
`open` and `check`.
"""

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from freehold.engines.openai_stream import Alike, StreamGrammar, chat_deltas, completion_deltas, usage_from
from freehold.engines.openai_transport import DONE, NONSENSE, HttpConnection
from freehold.errors import EngineFailed, InvalidRequest
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest, Prompt
from freehold.types.generation import Delta, Embeddings, Event, Usage

GATEWAY_FIELDS = {
    "stream",
    "stream_options",
    "functions",
    "function_call",
    "max_tokens",
    "max_completion_tokens",
    "user",
    "safety_identifier",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "moderation",
    "prompt",
    "best_of",
    "echo",
}
"""What the gateway deals with itself, or what is set anew for the engine, which need not know who is asking."""

Deltas = Callable[[Mapping[str, Any]], list[Delta]]


class OpenAIConnection(HttpConnection):
    """Talks the OpenAI API."""

    limit_field: ClassVar[str | None] = "max_tokens"
    """The name under which the engine takes the most tokens to produce; None sends the caller's own name."""

    # What subclasses override

    def chat_body(self, request: ChatRequest) -> dict[str, Any]:
        """The body of a chat request; what is None is left out."""
        body = request.model_dump(exclude_none=True, by_alias=True, exclude=GATEWAY_FIELDS)
        body["model"] = self._model
        name = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
        return self._finish_body(body, self.limit_field or name, request.completion_limit)

    def completion_body(self, request: CompletionRequest, prompt: Prompt) -> dict[str, Any]:
        """The body of a completion request for one prompt."""
        body = request.model_dump(exclude_none=True, by_alias=True, exclude=GATEWAY_FIELDS)
        body["model"] = self._model
        body["prompt"] = prompt
        return self._finish_body(body, "max_tokens", request.max_tokens)

    def embedding_body(self, inputs: Sequence[Prompt], dimensions: int | None) -> dict[str, Any]:
        """The body of an embedding request."""
        body: dict[str, Any] = {"model": self._model, "input": list(inputs), "encoding_format": "float"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        return body

    def chat_deltas(self, chunk: Mapping[str, Any]) -> list[Delta]:
        """The deltas of one chunk of a chat stream; what reading nonsense raises is translated."""
        return chat_deltas(chunk)

    def completion_deltas(self, chunk: Mapping[str, Any]) -> list[Delta]:
        """The deltas of one chunk of a completion stream; what reading nonsense raises is translated."""
        return completion_deltas(chunk)

    # The contract

    def chat(self, request: ChatRequest) -> AsyncGenerator[Event]:
        """See `Connection.chat`."""
        grammar = StreamGrammar(request.n or 1, _message_tokens(request))
        return self._stream("chat/completions", lambda: self.chat_body(request), self.chat_deltas, grammar, "messages")

    def complete(self, request: CompletionRequest, prompt: Prompt) -> AsyncGenerator[Event]:
        """See `Connection.complete`."""
        grammar = StreamGrammar(request.n or 1, _prompt_tokens(prompt))
        body = partial(self.completion_body, request, prompt)
        return self._stream("completions", body, self.completion_deltas, grammar, "prompt")

    async def embed(self, inputs: Sequence[Prompt], dimensions: int | None) -> Embeddings:
        """See `Connection.embed`."""
        body = self.embedding_body(inputs, dimensions)
        answer = await self.fetch("POST", self.url("embeddings"), body, param="input")
        try:
            data = sorted(answer["data"], key=lambda entry: entry["index"])
            vectors = tuple(_unit(entry["embedding"]) for entry in data)
            usage = answer.get("usage")
        except NONSENSE as exc:
            raise EngineFailed("the engine answered with vectors that cannot be read") from exc
        if len(vectors) != len(inputs):
            raise EngineFailed("the engine answered with a wrong number of vectors")
        estimate = Usage(sum(_prompt_tokens(prompt) for prompt in inputs), estimated=True)
        return Embeddings(vectors, usage_from(usage, estimate=estimate))

    # Inside

    def _finish_body(self, body: dict[str, Any], limit_field: str, limit: int | None) -> dict[str, Any]:
        if limit is not None:
            body[limit_field] = limit
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
        return body

    async def _stream(
        self, operation: str, body: Callable[[], Mapping[str, Any]], deltas: Deltas, grammar: StreamGrammar, param: str
    ) -> AsyncGenerator[Event]:
        """Post a body and yield the events of the answer; texts that came together are one."""
        clean = False
        alike = Alike()
        incoming = await self.post(operation, body(), param=param)
        try:
            while not clean and (burst := await incoming.burst()):
                place = 0
                while place < len(burst) and not clean:
                    if texts := alike.texts(burst, place):
                        yield grammar.joined(alike.choice, texts)
                        place += len(texts)
                        continue
                    clean = burst[place] == DONE
                    if not clean:
                        for delta in self._read_chunk(burst[place], deltas, grammar, alike, param):
                            yield delta
                    place += 1
        finally:
            incoming.end()
        for event in grammar.close(clean=clean):
            yield event

    def _read_chunk(self, data: bytes, deltas: Deltas, grammar: StreamGrammar, alike: Alike, param: str) -> list[Delta]:
        """The deltas of one chunk that are to be passed on; chunks that look like it are read faster from now on."""
        chunk = self.decode(data, param)
        try:
            grammar.note_usage(chunk.get("usage"))
            found = deltas(chunk)
        except NONSENSE as exc:
            raise EngineFailed("the engine's answer cannot be read") from exc
        admitted = [delta for delta in found if grammar.admit(delta)]
        alike.learn(data, admitted)
        return admitted


def shortened(vector: Sequence[float], dimensions: int) -> tuple[float, ...]:
    """The beginning of a vector, at unit length again.

    Raises:
        EngineFailed: it has no direction.
    """
    length = math.hypot(*vector[:dimensions])
    if length == 0:
        raise EngineFailed("the engine answered with a vector without a direction")
    return tuple(value / length for value in vector[:dimensions])


def too_many_dimensions(asked: int, native: int) -> InvalidRequest:
    """The error for vectors that are longer than the model's own."""
    return InvalidRequest(
        f"Invalid value for 'dimensions': {asked}. This model's vectors have {native} dimensions.", param="dimensions"
    )


def _unit(values: Sequence[float]) -> tuple[float, ...]:
    """The vector at unit length.

    Raises:
        ValueError: it has no direction.
    """
    length = math.hypot(*values)
    if not math.isfinite(length) or length == 0:
        raise ValueError("a vector without a direction")
    return tuple(values) if abs(length - 1) < 1e-6 else tuple(value / length for value in values)


def _prompt_tokens(prompt: Prompt) -> int:
    """The tokens of a prompt; of a text, roughly."""
    return math.ceil(len(prompt) / 4) if isinstance(prompt, str) else len(prompt)


def _message_tokens(request: ChatRequest) -> int:
    """The tokens of a conversation, roughly."""
    characters = 0
    for message in request.messages:
        if isinstance(message.content, str):
            characters += len(message.content)
        elif message.content is not None:
            characters += sum(len(getattr(part, "text", "")) for part in message.content)
    return math.ceil(characters / 4)
