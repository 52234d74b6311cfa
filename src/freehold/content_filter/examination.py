"""Examining the texts of one half of a request: whole ones in windows, and never silently without a result.

A detector is a callable that may raise anything. What it raises becomes `FilterUnavailable` here, and nowhere else:
the text then does not pass, unless its policy says `on_error = "open"`.
"""

import asyncio
import re
import time
import traceback
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import PurePath
from types import TracebackType

import structlog

from freehold.content_filter.filter import Filter, Judgement
from freehold.content_filter.verdicts import verdict
from freehold.errors import FilterUnavailable
from freehold.types.content_filter import NOTHING, Findings, Passage, Side, Source, Span, merged
from freehold.types.verdict import Verdict

log = structlog.get_logger(__name__)

WINDOW = 4000
"""Code points of a prompt that are examined at once: under a millisecond."""
OVERLAP = 512
"""Code points that two windows share, so that what stands at their border is in one of them whole."""

KEPT = 16
"""How much is looked at of the beginning and of the end of a long stretch without letters and digits."""
_GAP = re.compile(r"[\W_\u115f\u1160\u3164\uffa0]{64,}")
"""Such a stretch; the four are letters that nobody sees."""
LONGEST_WORD = 48
_LAST_WORD = re.compile(r"\s(?=\S*\Z)")
_SPACE = re.compile(r"\s")


class Examiner:
    """Examines the texts of one half of a request under a policy.

    Args:
        policy: what to look for, and what to make of it.
        side: which half.
        clock: tells seconds.
    """

    def __init__(self, policy: Filter, side: Side, clock: Callable[[], float] = time.perf_counter) -> None:
        self.policy = policy
        self.side = side
        self.clock = clock
        self.failed = False
        """Whether a text could not be examined; nothing more is examined then."""
        self.spent_s = 0.0
        """Time that examining took."""
        self._chain = policy.chain(side)
        self._clean = policy.clean[side]

    def __bool__(self) -> bool:
        """Whether anything is looked for."""
        return bool(self._chain)

    @property
    def clean(self) -> Verdict:
        """The verdict on a text in which nothing is, or could be looked for."""
        return replace(self._clean, failed=True) if self.failed else self._clean

    async def judge(self, text: str, source: Source, *, whole: bool) -> Judgement:
        """What the policy makes of a text; nothing where it cannot be examined and the policy is open.

        Raises:
            FilterUnavailable: it cannot be examined, and does not pass.
        """
        return self.policy.judge(await self._found(text, source, whole=whole), self.side)

    def verdict(self, judgement: Judgement) -> Verdict:
        """The same in the words of annotations and receipts."""
        return verdict(self.policy, self.side, judgement) if judgement.findings else self.clean

    async def judge_all(self, text: str, source: Source) -> Judgement:
        """As `judge`, for a whole text of any length: in windows, with a breath for other requests between them.

        Raises: as `judge`.
        """
        if len(text) <= WINDOW:
            return self.policy.judge(await self._found(text, source, whole=True), self.side)
        seen, left_out = _compacted(text)
        found, start = NOTHING, 0
        while True:
            end = _cut(seen, start)
            last = end == len(seen)
            part = await self._found(seen[start:end], source, whole=last)
            found = merged(found, replace(part, spans=_moved(part.spans, start, left_out)))
            if last:
                break
            await asyncio.sleep(0)
            start = _begin(seen, end - OVERLAP)
        return self.policy.judge(replace(found, spans=tuple(dict.fromkeys(found.spans))), self.side)

    def pending(self, text: str) -> int:
        """How many code points at the end of an unfinished text must not be sent yet.

        Raises: as `judge`.
        """
        if self.failed:
            return 0
        started = self.clock()
        try:
            with detecting:
                return self._chain.pending(text)
        except FilterUnavailable as exc:
            self._fail(exc)
            return 0
        finally:
            self.spent_s += self.clock() - started

    async def _found(self, text: str, source: Source, *, whole: bool) -> Findings:
        if self.failed:
            return NOTHING
        started = self.clock()
        try:
            with detecting:
                return await self._chain.examine(Passage(text, self.side, source, whole))
        except FilterUnavailable as exc:
            self._fail(exc)
            return NOTHING
        finally:
            self.spent_s += self.clock() - started

    def _fail(self, error: FilterUnavailable) -> None:
        """Note that a text could not be examined.

        Raises:
            FilterUnavailable: the policy does not let it pass all the same.
        """
        self.failed = True
        if self.policy.settings.on_error == "closed":
            raise error


class _Detecting:
    """Where detectors and stages run; as a class since it is entered several times in every request.

    Raises:
        FilterUnavailable: one of them did not say what it found, whatever it did instead. What it raised is logged by
            its kind and place alone: its message may hold the text.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if problem is None or isinstance(problem, FilterUnavailable) or not isinstance(problem, Exception):
            return
        frame = traceback.extract_tb(trace)[-1]
        log.error("detector_failed", kind=type(problem).__name__, file=PurePath(frame.filename).name, line=frame.lineno)
        raise FilterUnavailable(
            "The content filter cannot examine the text, so the request is not served. Try again; if it happens "
            "again, tell whoever runs the service."
        ) from problem


detecting = _Detecting()


def complete(text: str) -> int:
    """Where the last word of an unfinished text begins, which is not judged before it is whole.

    A stretch without white space that is longer than any word, as in scripts that have none, is no unfinished word.
    """
    word = _LAST_WORD.search(text, max(0, len(text) - LONGEST_WORD))
    return word.end() if word else (len(text) if len(text) > LONGEST_WORD else 0)


def compacted(text: str) -> str:
    """The text with long stretches without a letter or a digit made short: of each its beginning and its end.

    A word whose letters stand thousands of invisible characters apart then still fits into one window.
    """
    return _GAP.sub(lambda gap: gap[0][:KEPT] + gap[0][-KEPT:], text)


def _compacted(text: str) -> tuple[str, list[tuple[int, int]]]:
    """`compacted(text)`, and at which of its places how many characters are left out before what comes then."""
    pieces: list[str] = []
    left_out: list[tuple[int, int]] = []
    end = removed = 0
    for gap in _GAP.finditer(text):
        pieces += (text[end : gap.start() + KEPT], text[gap.end() - KEPT : gap.end()])
        removed += gap.end() - gap.start() - 2 * KEPT
        left_out.append((gap.end() - KEPT - removed, removed))
        end = gap.end()
    return "".join((*pieces, text[end:])), left_out


def _cut(text: str, start: int) -> int:
    """Where a window ends that begins at `start`: at white space, where there is some near its end."""
    end = start + WINDOW
    if end >= len(text):
        return len(text)
    space = _LAST_WORD.search(text, end - OVERLAP // 2, end)
    return space.start() + 1 if space else end


def _begin(text: str, start: int) -> int:
    """Where the next window begins: behind white space, where there is some soon."""
    space = _SPACE.search(text, start, start + OVERLAP // 4)
    return space.end() if space else start


def _moved(spans: Sequence[Span], by: int, left_out: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    """The spans of a window as those of the whole text, in which more stands."""

    def place(at: int) -> int:
        before = bisect_right(left_out, at, key=itemgetter(0))
        return at + (left_out[before - 1][1] if before else 0)

    return tuple(Span(s.kind, s.name, place(s.start + by), place(s.end - 1 + by) + 1) for s in spans)
