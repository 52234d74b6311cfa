"""The hold-back of a stream: nothing of a choice leaves before it was examined in its context.

A choice has several texts that a client puts together each by itself: the answer, the reasoning, the arguments of each
tool call. Each is a channel. What has come on it and was not vetted yet is held; it is examined together with the last
1,000 characters that left. It leaves up to the point from which, as the detectors say, something to be found might
still begin (`pending`).

Nothing here knows a network or an engine: deltas go in, and those that may leave come out. Memory is bounded: of each
channel the context and at most the pending end and one window are kept, unless the answer is wanted whole.
"""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from freehold.content_filter.escapes import Decoded
from freehold.content_filter.examination import Examiner, compacted, complete
from freehold.content_filter.masking import masked
from freehold.content_filter.verdicts import total
from freehold.types.content_filter import Source, Span
from freehold.types.generation import Delta, TokenLogprob, ToolCallDelta
from freehold.types.verdict import Verdict

CONTEXT = 1000
"""Code points before what is examined that are examined with it."""
WINDOW = 96
"""Code points that have come since the last examination and make another one due."""
PAUSE_S = 0.05
"""Time since the last examination that makes another one due as soon as something comes."""
WHOLE_WINDOW = 2000
"""As `WINDOW`, where the answer is wanted whole: only to stop early what must not pass."""
MOST_HELD = 256
"""More is never held, so that no text can stop a stream."""
_WORD = re.compile(r"\S\s")
_SPACE = re.compile(r"\s")


@dataclass(slots=True)
class _Channel:
    """One of the texts of a choice; `key` is `text`, `reasoning`, or the index of a tool call."""

    key: str | int
    examined_at: float
    context: str = ""
    """What was vetted last."""
    held: str = ""
    """What has come after it."""
    fresh: int = 0
    """How much of it has come since the last examination."""
    tokens: deque[tuple[int, tuple[TokenLogprob, ...]]] = field(default_factory=deque)
    """Where there are log probabilities: the lengths of the pieces that `held` came in, and theirs."""
    begun: bool = False
    """Whether anything of it has left."""
    cut: bool = False
    """Whether its end was vetted before, because another channel went on."""

    def take(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> None:
        """Put a piece to the end."""
        if logprobs and not self.tokens and self.held:
            self.tokens.append((len(self.held), ()))
        if logprobs or self.tokens:
            self.tokens.append((len(text), logprobs))
        self.held += text
        self.fresh += len(text)


class HoldBack:
    """The hold-back of one choice.

    Args:
        choice: its index.
        examiner: examines completions under the policy.
        whole: whether the answer is wanted in one piece: then nothing leaves before its end.
        before: a text that the client will put before this one, as `echo` does with the prompt.
    """

    def __init__(self, choice: int, examiner: Examiner, *, whole: bool = False, before: str = "") -> None:
        self.choice = choice
        self.blocked = False
        self.verdict: Verdict = examiner.clean
        """On all of the choice that was examined so far."""
        self.masked = 0
        """How many spans were hidden."""
        self._examiner = examiner
        self._whole = whole
        self._channels: dict[str | int, _Channel] = {}
        self._ready: list[Delta] = []
        self._last: _Channel | None = None
        self._over = False
        """Whether the choice has come to its end, so that no context is needed any more."""
        if before:
            self._channels["text"] = _Channel("text", examiner.clock(), shortened(before))

    async def push(self, delta: Delta) -> list[Delta]:
        """Take a delta of the choice; those that may leave now. After a block there are none, whatever comes.

        Raises:
            FilterUnavailable: the text cannot be examined, and does not pass.
        """
        if self.blocked:
            return []
        logprobs = delta.logprobs
        is_whole = self._whole and delta.text and delta.finish_reason is not None and not self._channels
        if is_whole and not (delta.reasoning or delta.tool_calls or logprobs):
            return await self._at_once(delta)
        if delta.reasoning:
            alone = not delta.text and not delta.tool_calls
            await self._take("reasoning", delta.reasoning, logprobs if alone else ())
        if delta.text or (logprobs and not delta.reasoning and not delta.tool_calls):
            await self._take("text", delta.text, logprobs)
        for piece in delta.tool_calls:
            await self._call(piece, logprobs if not delta.text and len(delta.tool_calls) == 1 else ())
        if delta.finish_reason is not None:
            await self._finish(delta)
        if self._whole and delta.finish_reason is None and not self.blocked:
            return []
        ready, self._ready = self._ready, []
        return ready

    async def _at_once(self, delta: Delta) -> list[Delta]:
        """A choice that is one text and is there from its beginning to its end, as of most whole answers."""
        judgement = await self._examiner.judge(delta.text, Source.ASSISTANT, whole=True)
        self._over = True
        if not self._note(verdict := self._examiner.verdict(judgement)):
            self.masked += len(judgement.masked)
            text = masked(delta.text, judgement.masked) if judgement.masked else delta.text
            self._ready.append(Delta(self.choice, text, finish_reason=delta.finish_reason, verdict=verdict))
        ready, self._ready = self._ready, []
        return ready

    async def _take(self, key: str | int, text: str, logprobs: tuple[TokenLogprob, ...]) -> None:
        """Put a piece into its channel, and vet that if it is due."""
        if self.blocked:
            return
        now = self._examiner.clock()
        channel = self._channel(key, now)
        if channel is not self._last and not await self._turn_to(channel):
            return
        channel.take(text, logprobs)
        if self._is_due(channel, now):
            await self._vet(channel, now, ended=False)

    async def _turn_to(self, channel: _Channel) -> bool:
        """Let the end of the channel go that was written to before: it would come after all of this one else.

        That is done once for a channel. One that is taken up again after it waits for its end then, so that a word
        cannot be brought over letter by letter.

        Returns:
            Whether the choice goes on.
        """
        last, self._last = self._last, channel
        if last is not None and last is not channel and not last.cut and not self._whole:
            last.cut = True
            if last.held or last.tokens:
                await self._vet(last, self._examiner.clock(), ended=True)
        return not self.blocked

    async def _call(self, piece: ToolCallDelta, logprobs: tuple[TokenLogprob, ...]) -> None:
        """A piece of a tool call: its name is examined by itself."""
        if self.blocked or not await self._turn_to(self._channel(piece.index, self._examiner.clock())):
            return
        if piece.id is not None or piece.name is not None:
            judgement = await self._examiner.judge(piece.name or "", Source.ASSISTANT, whole=True)
            if self._note(verdict := self._examiner.verdict(judgement)):
                return
            name = None if piece.name is None else masked(piece.name, judgement.masked)
            self.masked += len(judgement.masked)
            head = ToolCallDelta(piece.index, piece.id, name)
            self._ready.append(Delta(self.choice, tool_calls=(head,), verdict=verdict))
        if piece.arguments or logprobs:
            await self._take(piece.index, piece.arguments, logprobs)

    def _channel(self, key: str | int, now: float) -> _Channel:
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel(key, now)
        return channel

    def _is_due(self, channel: _Channel, now: float) -> bool:
        """Whether a channel is to be examined now."""
        if self._whole:
            return channel.fresh >= WHOLE_WINDOW
        if not channel.begun and _WORD.search(channel.held):
            return True
        return channel.fresh >= WINDOW or now - channel.examined_at >= PAUSE_S

    async def _vet(self, channel: _Channel, now: float, *, ended: bool) -> None:
        """Examine what is held of a channel, and let go what may leave; all of it if the channel has ended."""
        window = channel.context + channel.held
        channel.fresh, channel.examined_at = 0, now
        decoded = Decoded(window) if isinstance(channel.key, int) and "\\" in window else None
        text = window if decoded is None else decoded.text
        cut = len(text) if ended else complete(text)
        if cut <= len(channel.context) and decoded is None and not ended:
            return
        judgement = await self._examiner.judge(text[:cut], Source.ASSISTANT, whole=ended)
        if self._note(verdict := self._examiner.verdict(judgement)):
            return
        hidden = judgement.masked if decoded is None else decoded.raw(judgement.masked)
        spans = _shifted(hidden, len(channel.context)) if hidden else []
        limit = len(channel.held)
        if not ended:
            pending = max(min(self._examiner.pending(text), MOST_HELD), len(text) - cut)
            limit -= min(pending if decoded is None else decoded.held(pending), limit)
            limit = next((span.start for span in spans if span.start < limit < span.end), limit)
        pieces, limit = self._pieces(channel, limit, spans, ended=ended)
        if not pieces:
            return
        if not self._over:
            channel.context = shortened(channel.context + channel.held[:limit])
        channel.held = channel.held[limit:]
        channel.begun = True
        self._ready += [_delta(self.choice, channel.key, text, logprobs, verdict) for text, logprobs in pieces]

    def _note(self, verdict: Verdict) -> bool:
        """Add a verdict to the choice's; whether it ends the choice here."""
        if verdict.found or verdict.failed:
            self.verdict = total((self.verdict, verdict))
        if not verdict.blocked:
            return False
        self.blocked = True
        if self._whole:
            self._ready = []
        self._channels = {}
        said = self.verdict if self._whole else verdict
        self._ready.append(Delta(self.choice, finish_reason="content_filter", verdict=said))
        return True

    async def _finish(self, delta: Delta) -> None:
        """The choice has come to its end: let the rest go."""
        self._over = True
        for channel in list(self._channels.values()):
            if (channel.held or channel.tokens) and not self.blocked:
                await self._vet(channel, self._examiner.clock(), ended=True)
        if not self.blocked:
            said = self.verdict if self._whole else None
            self._ready.append(Delta(self.choice, finish_reason=delta.finish_reason, verdict=said))

    def _pieces(
        self, channel: _Channel, limit: int, spans: Sequence[Span], *, ended: bool
    ) -> tuple[list[tuple[str, tuple[TokenLogprob, ...]]], int]:
        """What leaves of the first `limit` held characters, and how many of them do.

        Where there are log probabilities, whole pieces leave only, because a token's log probability tells its text;
        for one of which something is hidden there are none. A token without text belongs to the text after it.
        """
        if not channel.tokens and not spans:
            return ([(channel.held[:limit], ())] if limit else []), limit
        if not channel.tokens:
            spans = [span for span in spans if span.end <= limit]
            self.masked += len(spans)
            return ([(masked(channel.held[:limit], spans), ())] if limit else []), limit
        count = used = reached = 0
        for position, (length, _) in enumerate(channel.tokens, start=1):
            reached += length
            if reached > limit:
                break
            if length or ended:
                count, used = position, reached
        if any(span.start < used < span.end for span in spans):
            return [], 0
        spans = [span for span in spans if span.end <= used]
        self.masked += len(spans)
        tokens = [channel.tokens.popleft() for _ in range(count)]
        return _tokens_less(channel.held[:used], tokens, spans), used


def _tokens_less(
    text: str, tokens: Sequence[tuple[int, tuple[TokenLogprob, ...]]], spans: Sequence[Span]
) -> list[tuple[str, tuple[TokenLogprob, ...]]]:
    """The pieces of a text with their log probabilities; those that spans touch in one, hidden and without them."""
    pieces: list[tuple[str, tuple[TokenLogprob, ...]]] = []
    start = 0
    touched: list[tuple[int, int]] = []
    for length, logprobs in tokens:
        end = start + length
        if any(span.start < max(end, start + 1) and start < span.end for span in spans):
            touched.append((start, end))
        else:
            if touched:
                pieces.append((_hidden(text, touched, spans), ()))
                touched = []
            pieces.append((text[start:end], logprobs))
        start = end
    if touched:
        pieces.append((_hidden(text, touched, spans), ()))
    return pieces


def _hidden(text: str, touched: Sequence[tuple[int, int]], spans: Sequence[Span]) -> str:
    """Pieces in a row with the spans in them hidden."""
    start, end = touched[0][0], touched[-1][1]
    inside = [span for span in spans if start <= span.start and span.end <= end]
    return masked(text[start:end], _shifted(inside, start))


def _shifted(spans: Sequence[Span], by: int) -> list[Span]:
    """The spans of a text as those of what follows its first `by` characters; of one that began before, the rest."""
    return [Span(s.kind, s.name, max(s.start - by, 0), s.end - by) for s in spans if s.end > by]


def shortened(context: str) -> str:
    """The last of a context, from a word's beginning on."""
    context = compacted(context)
    if len(context) <= CONTEXT:
        return context
    space = _SPACE.search(context, len(context) - CONTEXT, len(context) - CONTEXT // 2)
    return context[space.end() if space else -CONTEXT :]


def _delta(choice: int, key: str | int, text: str, logprobs: tuple[TokenLogprob, ...], verdict: Verdict) -> Delta:
    """A piece of a channel as a delta."""
    match key:
        case "text":
            return Delta(choice, text=text, logprobs=logprobs, verdict=verdict)
        case "reasoning":
            return Delta(choice, reasoning=text, logprobs=logprobs, verdict=verdict)
        case int():
            piece = ToolCallDelta(key, arguments=text)
            return Delta(choice, tool_calls=(piece,), logprobs=logprobs, verdict=verdict)
    raise AssertionError(f"no channel: {key}")
