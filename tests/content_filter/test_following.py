"""Asynchronous mode: a stream is sent at once, and what is found in it follows with offsets that never fall."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.content_filter.examination import Examiner
from freehold.content_filter.filter import Filter
from freehold.content_filter.following import Follower
from freehold.errors import FilterUnavailable
from freehold.types.content_filter import FilterSettings, Findings, Passage, Side
from freehold.types.generation import Delta, ToolCallDelta
from tests.content_filter.filters import PHRASE, Digits, Failing, filter_of, fruit_filter


def followed(deltas: Sequence[Delta], policy: Filter) -> list[Delta]:
    """The annotations of a choice that ends well, while other things run between any two of its pieces."""

    async def run() -> list[Delta]:
        follower = Follower(0, Examiner(policy, Side.COMPLETION))
        found: list[Delta] = []
        try:
            for delta in deltas:
                follower.take(delta)
                await asyncio.sleep(0)
                found += follower.found()
                if follower.blocked:
                    return found
            return found + await follower.finished(Delta(finish_reason="stop"))
        finally:
            await follower.close()

    return asyncio.run(run())


@settings(deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=12))
def test_annotations_cover_the_text_without_a_gap(sizes: list[int]) -> None:
    """Each annotation begins where the one before was sure, and the last one is sure of all."""
    text = ("hello there " * 1000)[: sum(sizes)]
    deltas, at = [], 0
    for size in sizes:
        deltas.append(Delta(text=text[at : at + size]))
        at += size
    found = followed(deltas, fruit_filter())
    offsets = [delta.verdict.offsets for delta in found if delta.verdict is not None and delta.verdict.offsets]
    assert [each.start for each in offsets] == [0, *(each.check for each in offsets)][:-1]
    assert all(each.start <= each.check <= each.end for each in offsets)
    assert offsets[-1].check == offsets[-1].end == len(text)
    assert found[-1].finish_reason == "stop"


@pytest.mark.parametrize("place", [0, 300, 395, 401, 1200])
def test_what_does_not_pass_ends_the_choice(place: int) -> None:
    """A phrase is found wherever it stands, also across two examinations."""
    text = "x" * place + f" {PHRASE} " + "and on " * 300
    found = followed([Delta(text=text[at : at + 7]) for at in range(0, len(text), 7)], fruit_filter())
    assert found[-1].finish_reason == "content_filter"
    verdict = found[-1].verdict
    assert verdict is not None
    assert verdict.blocked == ("blocklist:fruit",)
    assert verdict.offsets is not None
    assert verdict.offsets.end > place + len(PHRASE)


def test_every_channel_is_followed() -> None:
    """Reasoning and tool calls are examined as well, without offsets, which are those of the text."""
    call = ToolCallDelta(0, "call_1", "say", f'{{"x": "{PHRASE} rings"}}')
    for deltas in ([Delta(reasoning=f"a {PHRASE} rings"), Delta(text="well")], [Delta(tool_calls=(call,))]):
        found = followed(deltas, fruit_filter())
        assert found[-1].finish_reason == "content_filter"
        assert found[-1].verdict is not None
        assert found[-1].verdict.offsets is None


def test_nothing_that_was_sent_is_called_hidden() -> None:
    """What is sent at once cannot be hidden any more, and no annotation says that it was."""
    found = followed([Delta(text="call 555123 now")], filter_of(Digits(), settings=FilterSettings(name="later")))
    assert all(not delta.verdict.masked for delta in found if delta.verdict is not None)


def test_a_failure_behind_the_sending_ends_the_stream_of_a_closed_policy() -> None:
    """What cannot be examined ends the stream with an error, and under an open policy with an annotation."""
    deltas = [Delta(text="hello "), Delta(text="crash")]
    with pytest.raises(FilterUnavailable):
        followed(deltas, filter_of(Failing("crash")))
    settings = FilterSettings(name="open", on_error="open")
    found = followed(deltas, filter_of(Failing("crash"), settings=settings))
    assert any(delta.verdict is not None and delta.verdict.failed for delta in found)
    assert found[-1].finish_reason == "stop"


class Slow:
    """A stage whose model takes its time."""

    name = "slow"
    version = "1"

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    def wants(self, passage: Passage, so_far: Findings) -> bool:  # noqa: ARG002
        """See `Stage.wants`."""
        return True

    async def __call__(self, passage: Passage, so_far: Findings) -> Findings:  # noqa: ARG002
        """See `Stage.__call__`."""
        self.asked.set()
        await self.answer.wait()
        return so_far


def test_a_slow_model_does_not_hold_the_stream() -> None:
    """Pieces go on while a model is asked about those before, and leaving stops the question."""

    async def run() -> None:
        slow = Slow()
        follower = Follower(0, Examiner(filter_of(Digits(), stages=[slow]), Side.COMPLETION))
        follower.take(Delta(text="x " * 300))
        await slow.asked.wait()
        follower.take(Delta(text="more"))
        assert follower.found() == []
        slow.answer.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(follower.found()) == 1
        slow.answer.clear()
        follower.take(Delta(text="y " * 300))
        await follower.close()
        assert follower.found() == []

    asyncio.run(run())
