"""Long texts are examined whole, and what cannot be examined is never taken for clean."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.content_filter.blocklists import Blocklists
from freehold.content_filter.chain import Chain
from freehold.content_filter.examination import WINDOW, Examiner, compacted
from freehold.errors import FilterUnavailable
from freehold.types.content_filter import Category, FilterSettings, Findings, Passage, Severity, Side, Source
from tests.content_filter.filters import PHRASE, Digits, Failing, filter_of, fruit_filter, listing


def spans_in(text: str) -> list[str]:
    """The pieces of a prompt in which a listed phrase or a number is."""
    policy = filter_of(Blocklists([listing(PHRASE)]), Digits())
    judgement = asyncio.run(Examiner(policy, Side.PROMPT).judge_all(text, Source.USER))
    return [text[span.start : span.end] for span in judgement.findings.spans]


@settings(deadline=None, max_examples=60)
@given(
    place=st.integers(0, 3 * WINDOW),
    filler=st.sampled_from(["x ", "xyz", "\u3042", " "]),
    needle=st.sampled_from([PHRASE, "\u200b".join(PHRASE), "12345678"]),
)
def test_what_lies_across_windows_is_found_where_it_is(place: int, filler: str, needle: str) -> None:
    """Something to be found is found once, at its own place, wherever in a long text it stands."""
    padding = (filler * (3 * WINDOW))[: 3 * WINDOW]
    text = f"{padding[:place]} {needle} {padding[place:]}"
    assert set(spans_in(text)) == {needle}


def test_a_gap_of_any_length_hides_no_word() -> None:
    """A word whose letters stand further apart than a window is found, at its place in the original."""
    needle = PHRASE[:6] + "\u200b" * (2 * WINDOW) + PHRASE[6:]
    text = "hello " * 1000 + needle + " and on" * 1000 + " 555"
    assert spans_in(text) == [needle, "555"]
    assert len(compacted(text)) < len(text) - WINDOW


def test_other_requests_run_between_windows() -> None:
    """A long prompt does not keep the event loop to itself."""

    async def run() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await Examiner(fruit_filter(), Side.PROMPT).judge_all("hello there " * 5000, Source.USER)
        task.cancel()
        return turns

    assert asyncio.run(run()) >= 60_000 // WINDOW - 1


def test_the_worst_of_all_windows_counts() -> None:
    """Of each category the highest severity of any window stands."""

    class Words:
        name = "words"
        version = "1"

        def __call__(self, passage: Passage) -> Findings:
            severity = Severity.HIGH if "worse" in passage.text else Severity.LOW
            return Findings({Category.HATE: severity}) if "bad" in passage.text else Findings()

        def pending(self, text: str) -> int:
            return min(256, len(text))

    policy = filter_of(Words())
    text = "bad " + "x " * WINDOW + "bad worse " + "x " * WINDOW + "bad"
    judgement = asyncio.run(Examiner(policy, Side.PROMPT).judge_all(text, Source.USER))
    assert judgement.findings.severities == {Category.HATE: Severity.HIGH}
    assert judgement.blocked == ("hate",)


class Unavailable:
    """A stage whose model does not answer."""

    name = "guard"
    version = "1"

    def wants(self, passage: Passage, so_far: Findings) -> bool:  # noqa: ARG002
        """See `Stage.wants`."""
        return True

    async def __call__(self, passage: Passage, so_far: Findings) -> Findings:  # noqa: ARG002
        """See `Stage.__call__`."""
        raise FilterUnavailable("The guard does not answer.")


@pytest.mark.parametrize("broken", ["detector", "stage"])
def test_what_breaks_is_unavailable(broken: str) -> None:
    """Whatever a detector or a stage raises, the text does not pass under a closed policy."""
    policy = filter_of(Failing()) if broken == "detector" else filter_of(Digits(), stages=[Unavailable()])
    examiner = Examiner(policy, Side.PROMPT)
    with pytest.raises(FilterUnavailable):
        asyncio.run(examiner.judge_all("hello", Source.USER))
    assert examiner.failed


def test_an_open_policy_passes_what_breaks_and_never_says_clean() -> None:
    """Under an open policy the text passes, and every verdict from then on says that it was not examined."""
    policy = filter_of(Failing("crash"), settings=FilterSettings(name="open", on_error="open"))
    examiner = Examiner(policy, Side.PROMPT)
    asyncio.run(examiner.judge_all("hello", Source.USER))
    assert not examiner.clean.failed
    judgement = asyncio.run(examiner.judge_all("crash", Source.USER))
    assert judgement.blocked == ()
    assert examiner.verdict(judgement).failed
    assert examiner.pending("more") == 0


def test_a_filter_without_detectors_looks_for_nothing() -> None:
    """An examiner is false where nothing is looked for."""
    assert not Examiner(filter_of(), Side.PROMPT)
    assert bool(Examiner(filter_of(Digits()), Side.PROMPT))
    assert not Chain(())
