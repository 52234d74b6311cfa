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
from freehold.errors import EngineFailed, FreeholdError, InvalidRequest
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

_PLAIN = frozenset({str, int, float, bool})

Deltas = Callable[[Mapping[str, Any]], list[Delta]]


class OpenAIConnection(HttpConnection):
    """Talks the OpenAI API."""

    limit_field: ClassVar[str | None] = "max_tokens"
    """The name under which the engine takes the most tokens to produce; None sends the caller's own name."""

    # What subclasses override

    def chat_body(self, request: ChatRequest) -> dict[str, Any]:
        """The body of a chat request; what is None is left out."""
        body = _given(request)
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
        body, whole = partial(self.chat_body, request), not request.stream
        return self._stream("chat/completions", body, self.chat_deltas, grammar, "messages", whole=whole)

    def complete(self, request: CompletionRequest, prompt: Prompt) -> AsyncGenerator[Event]:
        """See `Connection.complete`."""
        grammar = StreamGrammar(request.n or 1, _prompt_tokens(prompt))
        body = partial(self.completion_body, request, prompt)
        whole = not request.stream
        return self._stream("completions", body, self.completion_deltas, grammar, "prompt", whole=whole)

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
        self,
        operation: str,
        body: Callable[[], Mapping[str, Any]],
        deltas: Deltas,
        grammar: StreamGrammar,
        param: str,
        *,
        whole: bool = False,
    ) -> AsyncGenerator[Event]:
        """Post a body and yield the events of the answer; texts that came together are one.

        Args:
            operation: what is asked for.
            body: makes what is sent.
            deltas: reads a chunk.
            grammar: of the stream.
            param: what an error is about.
            whole: whether the answer is wanted in one piece: then an end that came with a text is one with it.
        """
        reading = _Reading(partial(self.decode, param=param), deltas, grammar, whole=whole)
        incoming = await self.post(operation, body(), param=param)
        try:
            while not reading.clean and (burst := await incoming.burst()):
                for delta in reading.take(burst):
                    yield delta
                if reading.failure is not None:
                    raise reading.failure
        finally:
            incoming.end()
        for event in grammar.close(clean=reading.clean):
            yield event


class _Reading:
    """Reads the bursts of one stream.

    Args:
        decode: decodes the data of an event, and raises an error that stands in its place.
        deltas: reads a chunk.
        grammar: of the stream.
        whole: whether the answer is wanted in one piece.
    """

    __slots__ = ("_alike", "_decode", "_deltas", "_grammar", "_whole", "clean", "failure")

    def __init__(
        self, decode: Callable[[bytes], dict[str, Any]], deltas: Deltas, grammar: StreamGrammar, *, whole: bool
    ) -> None:
        self.clean = False
        """Whether the stream has come to its proper end."""
        self.failure: FreeholdError | None = None
        """What went wrong after the deltas that were read."""
        self._alike = Alike()
        self._decode = decode
        self._deltas = deltas
        self._grammar = grammar
        self._whole = whole

    def take(self, burst: Sequence[bytes]) -> list[Delta]:
        """The deltas of a burst; afterwards see `clean` and `failure`."""
        found: list[Delta] = []
        place = 0
        try:
            while place < len(burst):
                if texts := self._alike.texts(burst, place):
                    choice = self._alike.choice
                    before = found.pop() if found and _goes_on(found[-1], choice) else None
                    found.append(self._grammar.joined(choice, texts, before))
                    place += len(texts)
                    continue
                if burst[place] == DONE:
                    self.clean = True
                    break
                for delta in self._chunk(burst[place]):
                    self._add(found, delta)
                place += 1
        except FreeholdError as exc:
            self.failure = exc
        return found

    def _chunk(self, data: bytes) -> list[Delta]:
        """The deltas of one chunk that are to be passed on; chunks that look like it are read faster from now on."""
        chunk = self._decode(data)
        try:
            self._grammar.note_usage(chunk.get("usage"))
            found = self._deltas(chunk)
        except NONSENSE as exc:
            raise EngineFailed("the engine's answer cannot be read") from exc
        if found:
            found = [delta for delta in found if self._grammar.admit(delta)]
            self._alike.learn(data, found)
        return found

    def _add(self, found: list[Delta], delta: Delta) -> None:
        """Put a delta to those that were found: to a text before it, where both are of one choice and nothing else."""
        last = found[-1] if found else None
        if (
            last is None
            or not (self._whole or delta.finish_reason is None)
            or not (_goes_on(last, delta.choice) and _is_text(delta))
        ):
            found.append(delta)
            return
        pieces = last.pieces + (delta.pieces if delta.text else 0)
        found[-1] = Delta(last.choice, last.text + delta.text, finish_reason=delta.finish_reason, pieces=pieces)


def _given(request: ChatRequest) -> dict[str, Any]:
    """What a request has for the engine. Most have numbers and messages only, which need no look at all the fields."""
    body: dict[str, Any] = {}
    fields = request.__dict__
    for name in sorted(request.model_fields_set - GATEWAY_FIELDS):  # of the others each is None, as a test holds
        value = fields[name]
        if value is None:
            continue
        if type(value) in _PLAIN:
            body[name] = value
        elif name == "messages":
            body[name] = [
                message.__pydantic_serializer__.to_python(message, by_alias=True, exclude_none=True)
                for message in request.messages
            ]
        else:
            return request.model_dump(exclude_none=True, by_alias=True, exclude=GATEWAY_FIELDS)
    return body


def _goes_on(last: Delta, choice: int) -> bool:
    """Whether a text of a choice can be put to a delta."""
    return last.choice == choice and last.finish_reason is None and _is_text(last)


def _is_text(delta: Delta) -> bool:
    """Whether a delta has nothing but a text, and perhaps an end."""
    return not (delta.reasoning or delta.tool_calls or delta.logprobs)


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
