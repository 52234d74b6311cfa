"""What the service itself has an engine do, such as the content filter's questions: no receipt tells of it."""

import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from freehold.types.engine import EngineCounters
from freehold.types.generation import Usage


@dataclass(slots=True)
class OwnCall:
    """One call; `usage` is to be set when it is known."""

    usage: Usage | None = None


class OwnUse:
    """What one running engine was asked for by the service itself.

    Args:
        before: what it had done when it was found, for an earlier run; None for one that was started for this one.
        alone: whether nobody but this gateway asks it for anything.
    """

    def __init__(self, before: EngineCounters | None = None, *, alone: bool = True) -> None:
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._calls = 0
        self._running = 0
        self._exact = alone and before is None
        self._before, self._since = before, time.time()

    @contextmanager
    def call(self) -> Iterator[OwnCall]:
        """Count a call in, and at its end what it used."""
        self._calls += 1
        self._running += 1
        call = OwnCall()
        try:
            yield call
        finally:
            self._running -= 1
            if call.usage is None or call.usage.estimated:
                self._exact = False
            if call.usage is not None:
                self._prompt_tokens += call.usage.prompt_tokens
                self._completion_tokens += call.usage.completion_tokens

    def forgotten(self) -> None:
        """Take note that a process is gone which had asked the engine for something: nobody knows what that used."""
        self._exact = False

    async def taken_off(self, asked: Awaitable[EngineCounters | None]) -> EngineCounters | None:
        """What an engine says that it has done for callers; not exact while a call of the service's own runs."""
        calls, alone = self._calls, self._running == 0
        prompt_tokens, completion_tokens = self._prompt_tokens, self._completion_tokens
        found = await asked
        if found is None:
            return None
        if self._before is not None:
            found = self._after(self._before, found)
        return replace(
            found,
            prompt_tokens=max(found.prompt_tokens - prompt_tokens, 0),
            completion_tokens=max(found.completion_tokens - completion_tokens, 0),
            exact=found.exact and self._exact and alone and self._calls == calls,
        )

    def _after(self, before: EngineCounters, now: EngineCounters) -> EngineCounters:
        """What was done since the engine was found; what ran for the earlier run just then is in it too."""
        requests = None if now.requests is None else now.requests - (before.requests or 0)
        prompt_tokens, completion_tokens = before.prompt_tokens, before.completion_tokens
        return EngineCounters(
            self._since, requests, now.prompt_tokens - prompt_tokens, now.completion_tokens - completion_tokens
        )
