"""Not one character of a stream leaves before it was examined in its context, whatever the chunking."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.content_filter.examination import Examiner
from freehold.content_filter.filter import Filter
from freehold.content_filter.hold_back import CONTEXT, MOST_HELD, HoldBack
from freehold.content_filter.normalise import squeezed
from freehold.errors import FilterUnavailable
from freehold.types.content_filter import (
    Category,
    FilterSettings,
    Findings,
    Passage,
    PersonalDataRules,
    Severity,
    Side,
)
from freehold.types.generation import Delta, TokenLogprob, ToolCallDelta
from tests.content_filter.filters import PHRASE, Digits, Failing, filter_of, fruit_filter

FILTER = fruit_filter()
CHANNELS = ("text", "reasoning", "arguments")
SPELLINGS = (
    PHRASE,
    "BananaPhone",
    "b4n4n4ph0n3",
    "b.a.n.a.n.a.p.h.o.n.e",
    "banana phone",
    "\u200b".join(PHRASE),
    "\u2060\ufeff".join(PHRASE),
    PHRASE.replace("a", "\u0430"),
    PHRASE.replace("o", "\u043e").replace("e", "\u0435"),
    "".join(chr(0xFF21 + ord(letter) - 97) for letter in PHRASE),
)
"""The phrase as it is, and with what hides it: letters of other widths and scripts, invisible characters, signs."""
BEFORE, AFTER = "we all like it, the ", " that rings"


def piece(channel: str, text: str) -> Delta:
    """A delta on a channel."""
    match channel:
        case "text":
            return Delta(text=text)
        case "reasoning":
            return Delta(reasoning=text)
    return Delta(tool_calls=(ToolCallDelta(0, arguments=text),))


def received(deltas: Iterable[Delta], channel: str) -> str:
    """What a client puts together of a channel."""
    if channel == "arguments":
        return "".join(call.arguments for delta in deltas for call in delta.tool_calls)
    return "".join(delta.text if channel == "text" else delta.reasoning for delta in deltas)


def sent(
    deltas: Sequence[Delta], policy: Filter = FILTER, *, step_s: float = 0.0, whole: bool = False, before: str = ""
) -> list[Delta]:
    """What leaves of a choice that ends well, on a clock on which a step passes between any two looks at it."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += step_s
        return now

    async def run() -> list[Delta]:
        hold_back = HoldBack(0, Examiner(policy, Side.COMPLETION, clock), whole=whole, before=before)
        left: list[Delta] = []
        for delta in [*deltas, Delta(finish_reason="stop")]:
            left += await hold_back.push(delta)
        return left

    return asyncio.run(run())


def hold_the_phrase(left: Sequence[Delta], channel: str, whole: str, start: int) -> None:
    """Assert that a choice was ended before the phrase, and that nothing but its beginning had left."""
    text = received(left, channel)
    assert whole.startswith(text)
    assert len(text) <= start
    assert PHRASE not in squeezed(text)
    assert [delta.finish_reason for delta in left if delta.finish_reason] == ["content_filter"]
    assert left[-1].finish_reason == "content_filter"


def cuts(text: str, places: Iterable[int]) -> list[str]:
    """The pieces of a text that is cut at these places."""
    return [text[start:end] for start, end in pairwise([0, *sorted(set(places)), len(text)]) if start < end]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("step_s", [0.0, 1.0])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_phrase_that_is_cut_anywhere_does_not_leave(spelling: str, step_s: float, channel: str) -> None:
    """A listed phrase is held wherever it is cut in two, and in single characters, however it is spelt."""
    whole = BEFORE + spelling + AFTER
    ways = [[cut] for cut in range(1, len(whole))] + [list(range(1, len(whole)))]
    for places in ways:
        deltas = [piece(channel, text) for text in cuts(whole, places)]
        hold_the_phrase(sent(deltas, step_s=step_s), channel, whole, len(BEFORE))


@settings(deadline=None, max_examples=60)
@given(
    spelling=st.sampled_from(SPELLINGS),
    channel=st.sampled_from(CHANNELS),
    before=st.text(alphabet="xyz \n,.", max_size=1500),
    places=st.lists(st.integers(1, 1600), max_size=60),
    step_s=st.sampled_from([0.0, 0.01, 1.0]),
)
def test_a_phrase_in_any_context_does_not_leave(
    spelling: str, channel: str, before: str, places: list[int], step_s: float
) -> None:
    """A listed phrase is held behind any text and under any chunking, at any pace."""
    whole = f"{before} {spelling}{AFTER}"
    deltas = [piece(channel, text) for text in cuts(whole, [place for place in places if place < len(whole)])]
    hold_the_phrase(sent(deltas, step_s=step_s), channel, whole, len(before) + 1)


@settings(deadline=None, max_examples=60)
@given(
    text=st.text(alphabet="abnpho e\n\u200b\u0430.4", max_size=600),
    places=st.lists(st.integers(1, 600), max_size=80),
    step_s=st.sampled_from([0.0, 1.0]),
)
def test_what_passes_arrives_as_it_was(text: str, places: list[int], step_s: float) -> None:
    """A text without the phrase comes out whole, character by character, with the engine's own end."""
    deltas = [piece("text", each) for each in cuts(text, [place for place in places if place < len(text)])]
    left = sent(deltas, step_s=step_s)
    if left[-1].finish_reason == "content_filter":
        assert PHRASE in squeezed(text)
        assert PHRASE not in squeezed(received(left, "text"))
    else:
        assert received(left, "text") == text
        assert left[-1].finish_reason == "stop"


@pytest.mark.parametrize("filler", ["\u200b", " ", ".", "\u3164", "\u0301"])
def test_letters_that_stand_far_apart_are_seen_together(filler: str) -> None:
    """The phrase is never received whole, even with thousands of characters between its letters that say nothing."""
    whole = BEFORE + (filler * 3000).join(PHRASE) + AFTER
    left = sent([piece("text", whole[at : at + 500]) for at in range(0, len(whole), 500)])
    assert PHRASE not in squeezed(received(left, "text"))
    assert left[-1].finish_reason == "content_filter"


def test_a_phrase_that_the_echoed_prompt_begins_does_not_leave() -> None:
    """What the client is given before a completion is part of its context."""
    left = sent([piece("text", "phone rings")], before="the banana")
    assert received(left, "text") == ""
    assert left[-1].finish_reason == "content_filter"


def test_the_first_word_leaves_when_it_is_whole() -> None:
    """The first piece is late by a word, and not by a window."""

    async def run() -> list[int]:
        hold_back = HoldBack(0, Examiner(FILTER, Side.COMPLETION, lambda: 0.0))
        return [len(await hold_back.push(Delta(text=text))) for text in ("He", "llo", " ", "wor", "ld")]

    assert asyncio.run(run()) == [0, 0, 1, 0, 0]


def test_the_next_pieces_leave_by_their_number_or_by_the_time() -> None:
    """After the first word a piece leaves when 96 characters have come, or when 50 milliseconds have passed."""
    now = 0.0

    async def run() -> list[bool]:
        nonlocal now
        hold_back = HoldBack(0, Examiner(FILTER, Side.COMPLETION, lambda: now))
        left = [bool(await hold_back.push(Delta(text="hello ")))]
        left += [bool(await hold_back.push(Delta(text="x" * 94 + " "))), bool(await hold_back.push(Delta(text="y")))]
        left.append(bool(await hold_back.push(Delta(text="z "))))
        now = 0.06
        left.append(bool(await hold_back.push(Delta(text="again "))))
        return left

    assert asyncio.run(run()) == [True, False, True, False, True]


class Parts:
    """A detector that takes a word for another one of which it is a part, as half-read words are taken."""

    name = "parts"
    version = "1"

    def __call__(self, passage: Passage) -> Findings:
        """See `Detector.__call__`."""
        return Findings({Category.HATE: Severity.HIGH} if "pear" in passage.text.split() else {})

    def pending(self, text: str) -> int:  # noqa: ARG002
        """See `Detector.pending`."""
        return 0


def test_half_a_word_is_not_judged() -> None:
    """A word is judged, and leaves, when it is whole: half of it may be another word."""
    pieces = [Delta(text=text) for text in ("some", " pear", "ls", ", and", " more")]
    left = sent(pieces, filter_of(Parts()), step_s=1.0)
    assert received(left, "text") == "some pearls, and more"
    blocked = sent([*pieces[:2], *pieces[3:]], filter_of(Parts()), step_s=1.0)
    assert received(blocked, "text") == "some pear, and more"
    assert received(sent([Delta(text="some"), Delta(text=" pear x")], filter_of(Parts())), "text") == ""


def test_channels_do_not_wait_for_each_other() -> None:
    """The end of the reasoning leaves when the answer begins."""

    async def run() -> list[Delta]:
        hold_back = HoldBack(0, Examiner(FILTER, Side.COMPLETION, lambda: 0.0))
        await hold_back.push(Delta(reasoning="I think of a ban"))
        return await hold_back.push(Delta(text="Well, "))

    left = asyncio.run(run())
    assert received(left, "reasoning").endswith("ban")
    assert received(left, "text") == "Well, "


@settings(deadline=None, max_examples=60)
@given(pattern=st.lists(st.sampled_from(["reasoning", "text"]), min_size=11, max_size=11))
def test_a_phrase_cannot_be_brought_over_by_changing_channels(pattern: list[str]) -> None:
    """Going from channel to channel letter by letter brings the phrase over on none of them."""
    deltas = []
    for letter, other in zip(PHRASE, pattern, strict=True):
        deltas += [Delta(text=letter), piece(other, "x" if other == "reasoning" else "")]
    left = sent([delta for delta in deltas if delta != Delta()])
    assert PHRASE not in squeezed(received(left, "text"))
    assert left[-1].finish_reason == "content_filter"


@pytest.mark.parametrize("step_s", [0.0, 1.0])
def test_a_phrase_that_json_spells_does_not_leave(step_s: float) -> None:
    """Arguments whose escapes come to the phrase do not leave, wherever they are cut; other escapes arrive."""
    whole = BEFORE + "".join(f"\\u{ord(letter):04x}" for letter in PHRASE) + AFTER
    for cut in range(1, len(whole)):
        deltas = [piece("arguments", each) for each in cuts(whole, [cut])]
        hold_the_phrase(sent(deltas, step_s=step_s), "arguments", whole, len(BEFORE))
    harmless = '{"city": "K\\u00f6ln \\ud83d\\ude00 \\n\\"am Rhein\\""}'
    left = sent([piece("arguments", letter) for letter in harmless], step_s=step_s)
    assert received(left, "arguments") == harmless


def test_the_name_of_a_call_is_examined() -> None:
    """A tool call whose name is listed does not leave, nor what comes after it."""
    call = ToolCallDelta(0, "call_1", PHRASE, "")
    left = sent([Delta(text="well "), Delta(tool_calls=(call,)), piece("arguments", "{}")])
    assert [delta for delta in left if delta.tool_calls] == []
    assert left[-1].finish_reason == "content_filter"


def test_a_call_leaves_with_its_name_first() -> None:
    """The first piece of a call has its id and name, and the arguments come whole."""
    head = ToolCallDelta(0, "call_1", "weather", "")
    left = sent([Delta(tool_calls=(head,)), *(piece("arguments", each) for each in ('{"ci', 'ty": "Ro', 'me"}'))])
    assert left[0].tool_calls == (head,)
    assert received(left, "arguments") == '{"city": "Rome"}'


def test_a_piece_with_log_probabilities_leaves_whole() -> None:
    """A token's log probability leaves with the last character of its text, and not before."""
    tokens = ["we ", "like ", "ba", "", "nana", "phone", " a", "lot"]
    deltas = [Delta(text=token, logprobs=(TokenLogprob(token or "?", -1.0),)) for token in tokens]
    left = sent(deltas, step_s=1.0)
    told = [token.token for delta in left for token in delta.logprobs]
    assert told == ["we ", "like "]
    assert received(left, "text") == "we like "
    passing = sent([replace(delta, text=delta.text.replace("phone", "bread")) for delta in deltas], step_s=1.0)
    assert len([token for delta in passing for token in delta.logprobs]) == len(tokens)
    assert all(len(delta.logprobs) <= 1 for delta in passing)


MASKING = filter_of(
    Digits(), settings=FilterSettings(name="default", personal_data=PersonalDataRules(completion="mask"))
)


@settings(deadline=None, max_examples=60)
@given(places=st.lists(st.integers(1, 60), max_size=30), step_s=st.sampled_from([0.0, 1.0]), whole=st.booleans())
def test_what_is_hidden_is_hidden_under_any_chunking(places: list[int], step_s: float, whole: bool) -> None:
    """A span that a policy hides leaves as its mask, wherever it is cut."""
    text = "call 555123456 or 555987654 today, please, or else 1."
    deltas = [piece("text", each) for each in cuts(text, [place for place in places if place < len(text)])]
    left = sent(deltas, MASKING, step_s=step_s, whole=whole)
    assert received(left, "text") == "call [PHONE] or [PHONE] today, please, or else [PHONE]."
    assert left[-1].finish_reason == "stop"


def test_a_hidden_token_has_no_log_probability() -> None:
    """Of a span that is hidden no token is told either."""
    tokens = ["call ", "555", "123", " now", "!"]
    deltas = [Delta(text=token, logprobs=(TokenLogprob(token, -1.0),)) for token in tokens]
    left = sent(deltas, MASKING)
    assert received(left, "text") == "call [PHONE] now!"
    assert [token.token for delta in left for token in delta.logprobs] == ["call ", " now", "!"]


def test_an_answer_that_is_wanted_whole_leaves_at_its_end_or_not_at_all() -> None:
    """Without a stream nothing leaves before the choice has ended, and nothing at all of one that is blocked."""
    deltas = [piece("text", "we all like it. " * 300), piece("text", f"the {PHRASE}"), piece("text", " rings")]
    assert [delta.finish_reason for delta in sent(deltas, whole=True)] == ["content_filter"]
    passing = sent([deltas[0], deltas[2]], whole=True)
    assert received(passing, "text") == "we all like it. " * 300 + " rings"


def test_little_is_kept_of_a_long_stream() -> None:
    """However long a stream is, the hold-back keeps its context and what it holds."""

    async def run() -> int:
        hold_back = HoldBack(0, Examiner(FILTER, Side.COMPLETION, lambda: 0.0))
        held = 0
        for _ in range(3000):
            sizes = [len(delta.text) for delta in await hold_back.push(Delta(text="b" * 7))]
            held += 7 - sum(sizes)
            assert held <= MOST_HELD + CONTEXT
        return held

    assert asyncio.run(run()) <= MOST_HELD + CONTEXT


def test_a_failure_ends_a_stream_of_a_closed_policy() -> None:
    """A detector that breaks is an error, and nothing of what it broke at leaves."""
    with pytest.raises(FilterUnavailable):
        sent([piece("text", "all is well "), piece("text", "and crash")], filter_of(Failing("crash")), step_s=1.0)


def test_a_failure_lets_a_stream_of_an_open_policy_pass_and_says_so() -> None:
    """Under an open policy the rest is served, with a verdict that it was not examined."""
    policy = filter_of(Failing("crash"), settings=FilterSettings(name="open", on_error="open"))
    left = sent([piece("text", "all is well "), piece("text", "and crash "), piece("text", "on")], policy, step_s=1.0)
    assert received(left, "text") == "all is well and crash on"
    failed = [delta.verdict is not None and delta.verdict.failed for delta in left if delta.text]
    assert failed[0] is False
    assert all(failed[1:])
