"""The chunks of an OpenAI-compatible stream as the events of `freehold.types.generation`, and their grammar."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import orjson

from freehold.errors import EngineFailed
from freehold.types.generation import Delta, Event, FinishReason, TokenLogprob, ToolCallDelta, TopLogprob, Usage

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
}
"""What servers write, and what it means. Any other reason means that the server gave up."""

NO_LOGPROB = -9999.0
"""What OpenAI writes for a token whose probability is nil, and what is written here for one that is unknown."""


def chat_deltas(chunk: Mapping[str, Any]) -> list[Delta]:
    """The deltas of a `chat.completion.chunk`; pieces that say nothing are left out.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the chunk is not of the specified form.
    """
    deltas: list[Delta] = []
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        get = delta.get
        text, reasoning = get("content"), ""
        calls: tuple[ToolCallDelta, ...] = ()
        if type(text) is not str or len(delta) > 1 + ("role" in delta):  # most say a text, and nothing else
            text = _text(text) + _text(get("refusal"))
            reasoning = _text(get("reasoning_content")) or _text(get("reasoning"))
            said = get("tool_calls")
            calls = tuple(map(_tool_call, said)) if said else ()
        logprobs = choice.get("logprobs")
        logprobs = token_logprobs(logprobs) if logprobs else ()
        finish = choice.get("finish_reason")
        finish = finish_reason(finish) if finish else None
        if text or reasoning or calls or logprobs or finish:
            deltas.append(Delta(choice.get("index", 0), text, reasoning, calls, logprobs, finish))
    return deltas


def completion_deltas(chunk: Mapping[str, Any]) -> list[Delta]:
    """The deltas of a `text_completion` chunk.

    Raises: as `chat_deltas`.
    """
    deltas: list[Delta] = []
    for choice in chunk.get("choices") or ():
        text = _text(choice.get("text"))
        logprobs = token_logprobs(choice.get("logprobs"))
        finish = finish_reason(choice.get("finish_reason"))
        if text or logprobs or finish:
            deltas.append(Delta(choice.get("index", 0), text, logprobs=logprobs, finish_reason=finish))
    return deltas


def finish_reason(name: str | None) -> FinishReason | None:
    """The reason by its name in the specification.

    Raises:
        EngineFailed: the server broke the generation off for a reason of its own.
    """
    if not name:
        return None
    reason = FINISH_REASONS.get(name)
    if reason is None:
        raise EngineFailed("the engine broke off its answer")
    return reason


def token_logprobs(logprobs: Mapping[str, Any] | None) -> tuple[TokenLogprob, ...]:
    """The log probabilities of a chunk, in the form of chat (`content`) or of completions (`tokens`)."""
    if not logprobs:
        return ()
    if "tokens" in logprobs:
        return _legacy_logprobs(logprobs)
    entries = (*(logprobs.get("content") or ()), *(logprobs.get("refusal") or ()))
    return tuple(
        TokenLogprob(
            entry["token"],
            _logprob(entry.get("logprob")),
            _bytes(entry.get("bytes")),
            tuple(
                TopLogprob(top["token"], _logprob(top.get("logprob")), _bytes(top.get("bytes")))
                for top in entry.get("top_logprobs") or ()
            ),
        )
        for entry in entries
    )


def _legacy_logprobs(logprobs: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    """The form of completions: parallel lists, and for each position a mapping of alternatives."""
    tokens: Sequence[str] = logprobs["tokens"] or ()
    values: Sequence[float | None] = logprobs.get("token_logprobs") or [None] * len(tokens)
    tops: Sequence[Mapping[str, float] | None] = logprobs.get("top_logprobs") or [None] * len(tokens)
    return tuple(
        TokenLogprob(
            token,
            _logprob(value),
            None,
            tuple(TopLogprob(other, _logprob(likelihood)) for other, likelihood in (top or {}).items()),
        )
        for token, value, top in zip(tokens, values, tops, strict=True)
    )


def _logprob(value: float | None) -> float:
    return NO_LOGPROB if value is None else max(float(value), NO_LOGPROB)


def _bytes(value: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("text is not a string")
    return value


def _tool_call(call: Mapping[str, Any]) -> ToolCallDelta:
    function = call.get("function") or {}
    return ToolCallDelta(
        call.get("index", 0), call.get("id") or None, function.get("name") or None, _text(function.get("arguments"))
    )


def usage_from(usage: Mapping[str, Any] | None, *, estimate: Usage) -> Usage:
    """The usage of an answer; the estimate where the engine reported none or nonsense."""
    if not isinstance(usage, dict):
        return estimate
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens") or 0
    cached = _detail(usage.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _detail(usage.get("completion_tokens_details"), "reasoning_tokens")
    for count in (prompt, completion, cached, reasoning):
        if not isinstance(count, int) or count < 0:
            return estimate
    return Usage(prompt, completion, cached, reasoning)  # type: ignore[arg-type]  # the loop has seen to it


def _detail(details: Any, name: str) -> Any:
    return (details.get(name) or 0) if isinstance(details, dict) else 0


_AT_ONCE: Final = 64
"""So many chunks are looked at together; where most differ, more would be looked at in vain."""


class Alike:
    """Reads chunks that differ in their text alone from one that was read as a whole before.

    Of most streams nearly all chunks do. They begin and end with the same bytes, and what stands between is one JSON
    string: then they say the same but for that string, and nothing else of them has to be looked at.
    """

    __slots__ = ("_begin", "_end", "_least", "choice")

    def __init__(self) -> None:
        self.choice = 0
        """Of the chunks that it reads."""
        self._begin = self._end = b""
        self._least = 0

    def learn(self, data: bytes, deltas: Sequence[Delta]) -> None:
        """Take a chunk as an example, if it is nothing but one text."""
        if len(deltas) != 1 or not (delta := deltas[0]).text:
            return
        if delta.reasoning or delta.tool_calls or delta.logprobs or delta.finish_reason:
            return
        before, text, after = data.partition(orjson.dumps(delta.text))
        if not text or text in after or not before.rstrip().endswith((b'"content":', b'"text":')):
            return
        self.choice, self._begin, self._end = delta.choice, before, after
        self._least = len(before) + len(after) + 2

    def texts(self, burst: Sequence[bytes], start: int) -> list[str]:
        """The texts of the chunks from a place on that are like the example, up to one that is not or says nothing."""
        if not self._least or not self._is_like(burst[start]):
            return []
        begin, end, skip, cut = self._begin, self._end, len(self._begin), -len(self._end)
        stop = min(len(burst), start + _AT_ONCE)
        while stop - start > 1 and not self._is_like(burst[stop - 1]):  # the chunks with the end and the usage
            stop -= 1
        chunks = burst[start:stop]
        literals = list(map(itemgetter(slice(skip, cut)), chunks))
        if b"".join(chunks) != begin + (end + begin).join(literals) + end:  # with which all are looked at at once
            literals = literals[: next(place for place, data in enumerate(chunks) if not self._is_like(data))]
        return _strings(literals)

    def _is_like(self, data: bytes) -> bool:
        """Whether a chunk is like the example."""
        return len(data) >= self._least and data.startswith(self._begin) and data.endswith(self._end)


def _strings(literals: Sequence[bytes]) -> list[str]:
    """What literals of JSON say, up to one that is no string or an empty one."""
    if not literals:
        return []
    try:
        # All at once. No string goes over the end of a line, so there are as many only if each literal is one.
        found: list[str] = orjson.loads(b"[%b]" % b",\n".join(literals))
        if len(found) == len(literals) and "" not in found and set(map(type, found)) == {str}:
            return found
    except orjson.JSONDecodeError:
        pass
    found = []
    for literal in literals:
        try:
            text = orjson.loads(literal)
        except orjson.JSONDecodeError:
            break
        if not isinstance(text, str) or not text:
            break
        found.append(text)
    return found


class StreamGrammar:
    """Holds one stream to the grammar: a finish for each choice, nothing after it, one usage at the end.

    Args:
        choices: how many sequences were asked for.
        prompt_tokens: an estimate, for an engine that reports no usage.
    """

    def __init__(self, choices: int, prompt_tokens: int) -> None:
        self._choices = choices
        self._prompt_tokens = prompt_tokens
        self._finished: set[int] = set()
        self._called: set[int] = set()
        self._tokens = 0
        self._usage: Mapping[str, Any] | None = None

    def note_usage(self, usage: Mapping[str, Any] | None) -> None:
        """Keep the usage of a chunk, if it has one; the last one counts."""
        if usage:
            self._usage = usage

    def admit(self, delta: Delta) -> bool:
        """Whether the delta is to be passed on; an empty piece after the finish is not.

        Raises:
            EngineFailed: the delta is of a choice that nobody asked for or that had finished.
        """
        says_something = bool(delta.text or delta.reasoning or delta.tool_calls or delta.logprobs)
        if not isinstance(delta.choice, int) or not 0 <= delta.choice < self._choices:
            raise EngineFailed("the engine answered with a choice that was not asked for")
        if delta.choice in self._finished:
            if says_something:
                raise EngineFailed("the engine went on after it had finished")
            return False
        if says_something:
            self._tokens += len(delta.logprobs) or 1
        if delta.tool_calls:
            self._called.add(delta.choice)
        if delta.finish_reason is not None:
            self._finished.add(delta.choice)
        return True

    def joined(self, choice: int, texts: Sequence[str], before: Delta | None) -> Delta:
        """Texts of a choice that came together, as one delta, with what came before them if there is anything.

        Raises:
            EngineFailed: the choice had finished.
        """
        if choice in self._finished:
            raise EngineFailed("the engine went on after it had finished")
        self._tokens += len(texts)
        if before is None:
            return Delta(choice, "".join(texts), pieces=len(texts))
        return Delta(choice, before.text + "".join(texts), pieces=before.pieces + len(texts))

    def close(self, *, clean: bool) -> list[Event]:
        """The events that the end of the stream adds: finishes that are due, and the usage.

        Args:
            clean: whether the stream ended with `[DONE]`.

        Raises:
            EngineFailed: it broke off before every choice had finished.
        """
        missing = [choice for choice in range(self._choices) if choice not in self._finished]
        if missing and not clean:
            raise EngineFailed("the engine broke off in the middle of its answer")
        events: list[Event] = [
            Delta(choice, finish_reason="tool_calls" if choice in self._called else "stop") for choice in missing
        ]
        estimate = Usage(self._prompt_tokens, self._tokens, estimated=True)
        events.append(usage_from(self._usage, estimate=estimate))
        return events
