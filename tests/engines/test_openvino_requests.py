"""What a model writes is told apart: its reasoning, its calls, its answer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.openvino_requests import AnswerReader, Thoughts
from freehold.engines.tool_calls import CallParser

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


def _parted(text: str, cuts: list[int], *, thinking: bool = False) -> tuple[str, str]:
    """Reasoning and answer of a text that comes in pieces."""
    thoughts = Thoughts(thinking=thinking)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [text[begin:end] for begin, end in pairwise(places)]
    told = [thoughts.feed(piece, last=number == len(pieces) - 1) for number, piece in enumerate(pieces)]
    return "".join(reasoning for reasoning, _ in told), "".join(answer for _, answer in told)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>\nWell <b>\n</think>\n\nYes.", ("Well <b>", "Yes.")),
        ("No reasoning, 1 < 2.", ("", "No reasoning, 1 < 2.")),
        ("<thin air", ("", "<thin air")),
        ("<think>\nnever done", ("never done", "")),
        ("\n<think>a</think>b<think>c</think>", ("a", "b<think>c</think>")),
    ],
)
@given(cuts=st.lists(st.integers(0, 60), max_size=12))
def test_reasoning_is_parted_from_the_answer(text: str, expected: tuple[str, str], cuts: list[int]) -> None:
    """However a text comes, what stands between the tags at its beginning is reasoning, and the rest is the answer."""
    assert _parted(text, cuts) == expected


def test_reasoning_may_have_begun_in_the_prompt() -> None:
    """Where the prompt's end has the opening tag, the text begins with reasoning."""
    assert _parted("Well.\n</think>\nYes.", [3, 8, 12], thinking=True) == ("Well.", "Yes.")


def test_calls_are_told_as_calls() -> None:
    """A call is no text, and an answer with one finishes for it, unless a limit or a stop sequence has cut it off."""
    said = AnswerReader(CallParser(tagged=True), thinks=False, thinking=False).read(f"So: {CALL}", "stop")
    assert said.text == "So: "
    assert [call.name for call in said.calls if call.name] == ["f"]
    assert said.finish == "tool_calls"
    cut = AnswerReader(CallParser(tagged=True), thinks=False, thinking=False).read(CALL[:45], "stop")
    assert cut.finish == "length"


def test_a_call_may_follow_reasoning() -> None:
    """Reasoning goes first, and the call behind it is told as one."""
    reader = AnswerReader(CallParser(tagged=True), thinks=True, thinking=False)
    said = reader.read(f"<think>use f</think>{CALL}", "stop")
    assert (said.reasoning, said.text, said.finish) == ("use f", "", "tool_calls")
