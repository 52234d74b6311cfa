"""What a deployment does on its machine: `freehold bench engine`.

Real requests to a running server, so they are metered, and limits hold for them. Every prompt is new, so that no cache
answers. Streams are asked for in waves, all of one at once; between the greatest number at which a person can still
read along and the least at which not, the numbers between are tried too.
"""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from freehold.cli.bench_load import percentile
from freehold.cli.bench_streams import Endpoint, Stream, Wave, wave
from freehold.cli.output import ErrorAnswer

_WORDS: Final = tuple(
    "river house stone people road morning light field farmer bird summer rain winter snow autumn leaf spring "  # noqa: SIM905  # words read best as words
    "flower child water night bread table window garden letter market bridge forest village mountain lake".split()
)
_ENDING: Final = "\n\nTell a long story with all of these words in it, as slowly and in as much detail as you can."
_PROBE_WORDS: Final = (20, 120)
READY_S: Final = 300.0
"""How long a deployment that starts is waited for."""
_ASK_AGAIN_S: Final = 1.0
MOST_STEPS: Final = 5
"""Further waves, to find how many streams can be read along."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Args:
        deployment: whom to ask.
        streams: numbers of streams at once, rising.
        prompt_tokens: about how long each prompt is.
        tokens: how long each answer may be.
        reading_speed: tokens a second below which a person has to wait for the text.
    """

    deployment: str
    streams: tuple[int, ...]
    prompt_tokens: int
    tokens: int
    reading_speed: float


@dataclass(frozen=True, slots=True)
class Row:
    """One wave. Rates are tokens a second, times milliseconds.

    Args:
        streams: how many were asked for at once.
        good: how many of them went well.
        tokens_per_s: of all together, from the first request to the last byte.
        each_per_s: the median of how fast a stream grows once it has begun.
        first_p50_ms: until a stream's first piece of text.
        first_p95_ms: likewise.
        errors: how many were refused or failed, by what was said.
    """

    streams: int
    good: int
    tokens_per_s: float
    each_per_s: float | None
    first_p50_ms: float | None
    first_p95_ms: float | None
    errors: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, asked: int, found: Wave) -> "Row":
        """What a wave came to."""
        firsts = [stream.first_s * 1000 for stream in found.streams]
        growing = [stream.tokens_per_s for stream in found.streams if stream.tokens_per_s]
        told = Counter(
            f"{error.http_status} {error.code or error.type_name or ''}: {error.message}" for error in found.errors
        )
        return cls(
            asked,
            len(found.streams),
            found.tokens_per_s,
            percentile(growing, 0.5) if growing else None,
            percentile(firsts, 0.5) if firsts else None,
            percentile(firsts, 0.95) if firsts else None,
            tuple(told.most_common()),
        )

    def readable(self, speed: float) -> bool:
        """Whether every stream was served, and half of them grew at that speed or faster."""
        return self.good == self.streams and self.each_per_s is not None and self.each_per_s >= speed


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """What was measured.

    Args:
        plan: how.
        prompt_tokens: of the prompt that was read alone, as the server counts them.
        prefill_per_s: how many tokens of it, without those, were read in a second.
        cached_tokens: how many of its tokens the server says that it had read before, such as a template's.
        rows: the waves, by their number of streams.
        holds: the most streams that were measured at once and that a person could read along; 0 if not even one.
        fails_at: the least number that was measured and that could not; None if all could.
    """

    plan: Plan
    prompt_tokens: int
    prefill_per_s: float
    cached_tokens: int
    rows: tuple[Row, ...]
    holds: int
    fails_at: int | None


async def measure_engine(endpoint: Endpoint, plan: Plan, waiting: Callable[[], None]) -> EngineSpeed:
    """Ask and measure, once the deployment does not say any more that it is not ready; `waiting` is called if it does.

    Raises:
        ErrorAnswer: already a single request is refused or fails.
        ServiceUnreachable: nobody answers.
    """
    drawn = random.Random(secrets.token_bytes(16))  # noqa: S311  # prompts that are new, not secret
    words = await _words_for(endpoint, plan, drawn, waiting)
    prefill = _only(await wave(endpoint, [_body(plan, _words(drawn, words), 1)]))
    rows: dict[int, Row] = {}

    async def try_out(streams: int) -> None:
        bodies = [_body(plan, _words(drawn, words), plan.tokens) for _ in range(streams)]
        rows[streams] = Row.of(streams, await wave(endpoint, bodies))

    for streams in plan.streams:
        await try_out(streams)
    for _ in range(MOST_STEPS):
        between = next_to_try(rows.values(), plan.reading_speed)
        if between is None:
            break
        await try_out(between)
    ordered = tuple(rows[streams] for streams in sorted(rows))
    holds, fails_at = bounds(ordered, plan.reading_speed)
    rate = (prefill.prompt_tokens - prefill.cached_tokens) / prefill.first_s
    return EngineSpeed(plan, prefill.prompt_tokens, rate, prefill.cached_tokens, ordered, holds, fails_at)


async def _words_for(endpoint: Endpoint, plan: Plan, drawn: random.Random, waiting: Callable[[], None]) -> int:
    """How many words make a prompt of the wished length: two prompts tell what a word is, and what is always there."""
    first, second = (_body(plan, _words(drawn, words), 4) for words in _PROBE_WORDS)
    few = (await _once_ready(endpoint, first, waiting)).prompt_tokens
    many = _only(await wave(endpoint, [second])).prompt_tokens
    each = max(0.01, (many - few) / (_PROBE_WORDS[1] - _PROBE_WORDS[0]))
    return max(1, round(_PROBE_WORDS[0] + (plan.prompt_tokens - few) / each))


async def _once_ready(endpoint: Endpoint, body: Mapping[str, Any], waiting: Callable[[], None]) -> Stream:
    """Ask again while the deployment says that it is not ready."""
    deadline, told = time.monotonic() + READY_S, False
    while True:
        found = await wave(endpoint, [body])
        busy = bool(found.errors) and found.errors[0].http_status == HTTPStatus.SERVICE_UNAVAILABLE
        if not busy or time.monotonic() > deadline:
            return _only(found)
        if not told:
            waiting()
            told = True
        await asyncio.sleep(_ASK_AGAIN_S)


def bounds(rows: Sequence[Row], speed: float) -> tuple[int, int | None]:
    """The most streams below the first number that cannot be read along, 0 if there is none, and that number.

    Args:
        rows: by their number of streams.
        speed: in tokens a second.
    """
    holds = 0
    for row in rows:
        if not row.readable(speed):
            return holds, row.streams
        holds = row.streams
    return holds, None


def next_to_try(rows: Any, speed: float) -> int | None:
    """The number of streams halfway between the bounds; None where they are within a tenth, or one is open."""
    holds, fails_at = bounds(sorted(rows, key=lambda row: int(row.streams)), speed)
    if fails_at is None or fails_at - holds <= max(1, holds // 10):
        return None
    return (holds + fails_at) // 2


def _only(found: Wave) -> Stream:
    """The only stream of a wave; raises its error."""
    if found.errors:
        raise found.errors[0]
    if not found.streams[0].completion_tokens:
        raise ErrorAnswer(502, "the deployment answered with no token; can it write?")
    return found.streams[0]


def _words(drawn: random.Random, count: int) -> str:
    return " ".join(drawn.choice(_WORDS) for _ in range(count))


def _body(plan: Plan, words: str, tokens: int) -> dict[str, Any]:
    return {
        "model": plan.deployment,
        "messages": [{"role": "user", "content": words + _ENDING}],
        "max_tokens": tokens,
    }
