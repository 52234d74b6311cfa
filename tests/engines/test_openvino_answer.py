"""Tokens become an answer: whole characters, no part of a stop sequence, and what a grammar says."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.openvino_answer import Answer, Next, Order, Sampling
from freehold.engines.token_text import Detokenizer, StopSequences, Vocabulary, read_vocabulary

END = 256
BYTES = Vocabulary([bytes([number]) for number in range(256)], frozenset({END}))
"""A vocabulary of bytes, as any text can be said with."""


def _encode(text: str) -> Sequence[int]:
    return list(text.encode())


def _answer(limit: int = 1000, **order: Any) -> Answer:
    return Answer(Order([1, 2], limit, **order), BYTES, _encode)


def _say(answer: Answer, text: str) -> tuple[str, Next]:
    """Give it a text, byte by byte, beginning anew as often as it wants; what it said and what is next."""
    said, what_next = "", Next.GO_ON
    for number in text.encode():
        what_next = answer.take(number, -0.5)
        piece = answer.piece()
        said += piece.text if piece else ""
        if what_next is not Next.GO_ON:
            break
    return said, what_next


@given(st.text(max_size=30))
def test_characters_come_whole(text: str) -> None:
    """Whatever bytes a character has, it is said once, when it is complete."""
    detokenizer = Detokenizer(BYTES)
    said = [detokenizer.feed(number) for number in text.encode()]
    assert "".join(said) == text
    assert all(len(piece) <= 1 for piece in said)
    assert detokenizer.between


def test_a_character_that_is_cut_off_is_not_said() -> None:
    """What a limit leaves of a character is not said, and nothing stands in its place."""
    answer = _answer(limit=3)
    said, what_next = _say(answer, "aé€")
    assert (said, what_next) == ("aé", Next.END)
    again = _answer(limit=4)
    assert _say(again, "aé€")[0] == "aé"


@given(
    text=st.text(alphabet="ab.", max_size=30),
    stops=st.lists(st.text(alphabet="ab.", min_size=1, max_size=4), max_size=3),
)
def test_nothing_of_a_stop_sequence_is_said(text: str, stops: list[str]) -> None:
    """However the text comes, what is said is what stands before the first stop sequence, and all of it."""
    sequences = StopSequences(stops)
    said, stopped = "", False
    for char in text:
        more, stopped = sequences.feed(char)
        said += more
        if stopped:
            break
    said += sequences.rest()
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    first = min(ends, default=None)
    assert stopped is (first is not None)
    cut = min((text[:first].find(stop) for stop in stops if stop in text[:first]), default=len(text))
    assert said == text[:cut]


def test_a_stop_sequence_ends_the_answer() -> None:
    """The answer ends with `stop`, and its tokens are those that were made."""
    answer = _answer(stops=("STOP",))
    assert _say(answer, "one STOP two") == ("one ", Next.END)
    assert len(answer.tokens) == len("one STOP")


def test_the_end_token_ends_the_answer() -> None:
    """A token that ends answers is none of the answer's, and what was held back is said with it."""
    answer = _answer(stops=("STOP",))
    assert _say(answer, "one ST") == ("one ", Next.GO_ON)
    assert answer.take(END, 0.0) is Next.END
    piece = answer.piece()
    assert piece is not None
    assert (piece.text, piece.finish, len(answer.tokens)) == ("ST", "stop", 6)


def test_the_limit_ends_the_answer() -> None:
    """With its last token an answer ends for `length`."""
    answer = _answer(limit=3)
    said, what_next = _say(answer, "abcd")
    assert (said, what_next, answer.left) == ("abc", Next.END, 0)


def test_likelihoods_go_with_their_text() -> None:
    """Each token that was said has its likelihood, and what a stop sequence took has none."""
    answer = _answer(stops=("##",), sampling=Sampling(logprobs=True))
    found = []
    for number in b"ab##":
        answer.take(number, -float(number))
        piece = answer.piece()
        found += [(each.text, each.logprob) for each in piece.likelihoods] if piece else []
    assert found == [("a", -97.0), ("b", -98.0)]


def test_what_goes_beyond_a_grammar_is_cut() -> None:
    """A token that goes too far is replaced by what of it fits, and the rest is generated under what is left."""
    vocabulary = Vocabulary([b"<", b"aaaa", b"aaa>", b">"], frozenset({9}))
    answer = Answer(Order([7], 50, grammar='root ::= "<" [a]{0,30} ">"\n'), vocabulary, lambda text: [1] * len(text))
    assert answer.grammar == 'root ::= s0\ns0 ::= "<" [a]* ">"\n'
    assert answer.take(0, 0.0) is Next.GO_ON
    for _ in range(7):
        assert answer.take(1, 0.0) is Next.GO_ON
    assert answer.take(1, 0.0) is Next.BEGIN_ANEW
    assert answer.grammar == 'root ::= s0\ns0 ::= ">"\n'
    assert answer.prompt == [7, 0, *[1] * 7, 1, 1]
    assert answer.take(3, 0.0) is Next.END
    piece = answer.piece()
    assert piece is not None
    assert (piece.text, piece.finish) == (f"<{'a' * 30}>", "stop")


def test_an_end_that_comes_too_soon_is_no_end() -> None:
    """Where the grammar is not at its end, a token that ends answers makes it go on."""
    answer = _answer(grammar="root ::= [a]{20,30}\n")
    assert _say(answer, "a" * 18)[1] is Next.GO_ON
    assert answer.take(END, 0.0) is Next.BEGIN_ANEW
    assert answer.grammar == "root ::= s0\ns0 ::= [a]{2,12}\n"


def test_a_grammar_begins_at_its_opener() -> None:
    """Text is free until the opener, then it is held; what came behind it in the same token is left out."""
    vocabulary = Vocabulary([b"Hi ", b"<call", b">junk", b"<", b"x", b">"], frozenset({9}))
    order = Order([7], 50, grammar='root ::= "<call>" "x"\n', opener="<call>")
    answer = Answer(order, vocabulary, lambda text: [5] if text == ">" else [4])
    assert answer.grammar is None
    assert [answer.take(number, 0.0) for number in (0, 1)] == [Next.GO_ON, Next.GO_ON]
    assert answer.take(2, 0.0) is Next.BEGIN_ANEW
    assert answer.prompt == [7, 0, 1, 5]
    assert answer.grammar == 'root ::= s0\ns0 ::= "x"\n'
    assert answer.take(4, 0.0) is Next.END


@pytest.mark.parametrize("thinking", [True, False])
def test_no_grammar_begins_within_reasoning(*, thinking: bool) -> None:
    """What a model writes while it reasons is free, whatever it writes there."""
    answer = _answer(grammar='root ::= "<call>" "x"\n', opener="<call>", thinking=thinking)
    text = ("" if thinking else "<think>") + "maybe <call> it</think>Well"
    assert _say(answer, text)[1] is Next.GO_ON
    assert _say(answer, "<call>")[1] is Next.BEGIN_ANEW


def test_sentencepiece_is_read() -> None:
    """The tokens of SentencePiece are texts with spaces, and bytes; hidden ones and ends are no text."""
    tokens = {b"<s>": 0, b"</s>": 1, b"<0x0A>": 2, "▁Hi".encode(): 3, b"!": 4}
    vocabulary = read_vocabulary(tokens, hidden={0, 1}, ends={1})
    assert vocabulary.text([0, 3, 4, 2]) == " Hi!\n"
    assert vocabulary.ends == {1}
