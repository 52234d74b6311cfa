"""Putting the pieces of whole answers together changes nothing that a reader of the whole sees."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from freehold.content_filter.joining import Joiner
from freehold.types.generation import Delta, TokenLogprob, ToolCallDelta

DELTAS = st.builds(
    Delta,
    st.integers(0, 2),
    text=st.text(max_size=9),
    reasoning=st.sampled_from(["", "", "", "why"]),
    tool_calls=st.sampled_from([(), (), (), (ToolCallDelta(0, arguments="{}"),)]),
    logprobs=st.sampled_from([(), (), (), (TokenLogprob("a", -1.0, None, ()),)]),
    finish_reason=st.sampled_from([None, None, None, "stop"]),
)


def together(deltas: Sequence[Delta], most: int) -> list[Delta]:
    """What comes of the deltas."""
    joiner = Joiner(most)
    found = [taken for delta in deltas for taken in joiner.take(delta)]
    return [*found, *joiner.rest()]


def told(deltas: Sequence[Delta], choice: int) -> list[tuple[str, object]]:
    """What the deltas of a choice tell in their order, neighbouring texts as one."""
    found: list[tuple[str, object]] = []
    for event in deltas:
        if event.choice != choice:
            continue
        parts: list[tuple[str, object]] = [("reasoning", event.reasoning), ("text", event.text)]
        parts += [("calls", event.tool_calls), ("logprobs", event.logprobs), ("end", event.finish_reason)]
        for name, value in parts:
            if name == "text" and found and found[-1][0] == "text":
                found[-1] = ("text", f"{found[-1][1]}{value}")
            elif value:
                found.append((name, value))
    return found


@given(st.lists(DELTAS), st.integers(1, 40))
def test_every_choice_says_the_same(deltas: list[Delta], most: int) -> None:
    """Text, reasoning, tool calls, log probabilities and the end of each choice come in their order, all of them."""
    found = together(deltas, most)
    for choice in range(3):
        assert told(found, choice) == told(deltas, choice)


def test_plain_pieces_become_few() -> None:
    """A hundred words of two choices that alternate are one delta each, and its end is in it."""
    deltas = [Delta(n % 2, text="word ") for n in range(100)]
    ends = [Delta(choice, finish_reason="stop") for choice in range(2)]
    assert together([*deltas, *ends], 2000) == [
        Delta(choice, text="word " * 50, finish_reason="stop") for choice in range(2)
    ]
    assert len(together(deltas, 100)) == 10


def test_what_was_put_together_is_bounded() -> None:
    """No more is held than was allowed, and one piece."""
    assert [len(delta.text) for delta in together([Delta(0, text="ab")] * 9, 4)] == [4] * 4 + [2]
