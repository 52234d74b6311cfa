"""Asynchronous mode: a choice of a stream is sent at once and examined behind, and what is found follows it.

Offsets are code points of the choice's text, and never fall. A block ends the choice; what was sent before stays sent.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from freehold.content_filter.examination import Examiner, complete
from freehold.content_filter.hold_back import shortened
from freehold.content_filter.verdicts import total
from freehold.types.content_filter import Source
from freehold.types.generation import Delta
from freehold.types.verdict import Offsets, Verdict

WINDOW = 400
"""Code points that have come since the last examination and make another one due."""


@dataclass(slots=True)
class _Channel:
    """One of the texts of a choice."""

    is_text: bool
    context: str = ""
    """What was examined for good last."""
    new: str = ""
    """What has come after it."""
    checked: int = 0
    """How much of the text was examined for good."""
    fresh: int = 0
    """How much has come since the last examination began."""


class Follower:
    """Examines one choice behind its sending.

    Args:
        choice: its index.
        examiner: examines completions under the policy.
    """

    def __init__(self, choice: int, examiner: Examiner) -> None:
        self.choice = choice
        self.blocked = False
        self.verdict: Verdict = examiner.clean
        """On all of the choice that was examined so far."""
        self._examiner = examiner
        self._channels: dict[str | int, _Channel] = {}
        self._running: asyncio.Task[Verdict] | None = None

    def take(self, delta: Delta) -> None:
        """Note what was sent, and begin to examine it if that is due."""
        for key, text in _texts(delta):
            channel = self._channels.setdefault(key, _Channel(key == "text"))
            channel.new += text
            channel.fresh += len(text)
        if self._running is None:
            self._begin(lambda channel: channel.fresh >= WINDOW, ended=False)

    def found(self) -> list[Delta]:
        """The annotations that are ready; after one that blocks the choice is over.

        Raises:
            FilterUnavailable: the text cannot be examined, and does not pass.
        """
        if self._running is None or not self._running.done():
            return []
        verdict, self._running = self._running.result(), None
        return self._told(verdict)

    async def finished(self, delta: Delta) -> list[Delta]:
        """The last annotations, and the end of the choice.

        Raises: as `found`.
        """
        deltas: list[Delta] = []
        while not self.blocked:
            if self._running is None:
                self._begin(lambda channel: bool(channel.new), ended=True)
            if self._running is None:
                break
            await asyncio.wait([self._running])
            deltas += self.found()
        if not self.blocked:
            deltas.append(Delta(self.choice, finish_reason=delta.finish_reason))
        return deltas

    async def close(self) -> None:
        """Stop examining."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    def _begin(self, wanted: Callable[[_Channel], bool], *, ended: bool) -> None:
        """Begin to examine the first channel that is to be, if there is one."""
        channel = next((channel for channel in self._channels.values() if wanted(channel)), None)
        if channel is not None:
            self._running = asyncio.create_task(self._examine(channel, ended=ended))

    async def _examine(self, channel: _Channel, *, ended: bool) -> Verdict:
        """The verdict on what is new on a channel."""
        new, start = channel.new, channel.checked
        channel.fresh = 0
        window = channel.context + new
        cut = len(window) if ended else complete(window)
        judgement = await self._examiner.judge(window[:cut], Source.ASSISTANT, whole=ended)
        pending = 0 if ended else max(self._examiner.pending(window), len(window) - cut)
        examined = len(new) - min(pending, len(new))
        channel.context = shortened(channel.context + new[:examined])
        channel.new = channel.new[examined:]
        channel.checked = start + examined
        verdict = replace(self._examiner.verdict(judgement), masked=frozenset())
        if not channel.is_text:
            return verdict
        return replace(verdict, offsets=Offsets(channel.checked, start, start + len(new)))

    def _told(self, verdict: Verdict) -> list[Delta]:
        if verdict.found or verdict.failed:
            self.verdict = total((self.verdict, verdict))
        if not verdict.blocked:
            return [Delta(self.choice, verdict=verdict)]
        self.blocked = True
        return [Delta(self.choice, finish_reason="content_filter", verdict=verdict)]


def _texts(delta: Delta) -> list[tuple[str | int, str]]:
    """What a delta adds to which channel."""
    texts: list[tuple[str | int, str]] = [("reasoning", delta.reasoning), ("text", delta.text)]
    for piece in delta.tool_calls:
        texts += [(piece.index, f"{piece.name} " if piece.name else ""), (piece.index, piece.arguments)]
    return [(key, text) for key, text in texts if text]
