"""The head over sentence vectors: asked where the classifier is unsure, right where it was trained, silent without."""

import asyncio
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.content_filter.embedding import (
    GROUP,
    WINDOW,
    EmbeddingHead,
    head_for,
    log_odds,
    pieces,
)
from freehold.content_filter.ngrams import load_classifier
from freehold.content_filter.normalise import plain
from freehold.content_filter.weights_file import WeightsFile
from freehold.types.content_filter import Category, Findings, Passage, Severity, Shield, Side, Span

UNSURE = Findings(
    severities={Category.HATE: Severity.HIGH},
    scores={"hate": 0.5, "sexual": 0.5, "violence": 0.5, "self_harm": 0.5, "harassment": 0.25},
    shields=frozenset({Shield.JAILBREAK}),
    spans=(Span("blocklist", "words", 0, 3),),
    unsure=True,
)


class Recorded:
    """Gives one vector to each piece, and remembers what it was asked."""

    def __init__(self, vectors: Sequence[Sequence[float]] | None) -> None:
        self.vectors = vectors
        self.asked: list[str] = []

    async def __call__(self, text: str) -> Sequence[Sequence[float]] | None:
        self.asked.append(text)
        return None if self.vectors is None else [self.vectors[n % len(self.vectors)] for n in range(len(pieces(text)))]


def weights() -> WeightsFile:
    """A head over two dimensions: the first is hate, the second self-harm."""
    rows = {"sexual": [0.0, 0.0], "hate": [8.0, 0.0], "violence": [0.0, 0.0], "self_harm": [0.0, 8.0]}
    table = array("f", [value for row in rows.values() for value in (*row, 0.0, 0.0, 0.0, 0.0)])
    header = {
        "kind": "embedding",
        "model": "small",
        "classifier": "0" * 12,
        "categories": list(rows),
        "dimensions": 2,
        "calibration": [[1.0, -4.0]] * 4,
        "cuts": {name: [0.2, 0.5, 0.9] for name in rows},
        "bands": {name: [0.1, 0.9] for name in rows},
    }
    return WeightsFile(header, {"coefficients": table.tobytes()}, "ab" * 32)


def judged(vectors: Sequence[Sequence[float]] | None, so_far: Findings = UNSURE, text: str = "some text") -> Findings:
    """What the head makes of a text with these vectors."""
    return asyncio.run(EmbeddingHead(weights(), Recorded(vectors))(Passage(text, Side.PROMPT), so_far))


def test_categories_are_judged_anew() -> None:
    """What the vectors say replaces the four categories' scores and severities; everything else stays."""
    found = judged([[0.0, 1.0]])
    assert found.severities == {Category.SELF_HARM: Severity.HIGH}
    assert found.scores["self_harm"] == pytest.approx(0.982, abs=1e-3)
    assert found.scores["hate"] == pytest.approx(0.018, abs=1e-3)
    assert found.scores["harassment"] == 0.25
    assert (found.shields, found.spans) == (UNSURE.shields, UNSURE.spans)
    assert not found.unsure


def test_only_the_unsure_are_asked_about() -> None:
    """A text of which the classifier is sure costs no vector, and without a running model its word holds."""
    recorded = Recorded([[1.0, 0.0]])
    head = EmbeddingHead(weights(), recorded)
    sure = replace(UNSURE, unsure=False)
    assert asyncio.run(head(Passage("text", Side.PROMPT), sure)) is sure
    assert recorded.asked == []
    assert judged(None) is UNSURE


def test_a_long_text_is_as_bad_as_its_worst_part() -> None:
    """Harm in one group of pieces is not averaged away by harmless groups after it."""
    text = "word " * (WINDOW * GROUP * 3 // 5)
    vectors = [[0.0, 1.0]] * GROUP + [[-1.0, 0.0]] * (len(pieces(text)) - GROUP)
    assert len(vectors) > 2 * GROUP
    assert judged(vectors, text=text).severities[Category.SELF_HARM] == Severity.HIGH


@given(st.text() | st.lists(st.text(st.sampled_from("ab \u00e9\u7f8e"), min_size=90), min_size=5).map(" ".join))
def test_pieces_are_the_text(text: str) -> None:
    """Nothing of a text but white space is left out of its pieces, and each fits into the model."""
    cut = pieces(text)
    assert "".join("".join(cut).split()) == ("".join(plain(text).split()) or ".")
    assert all(sum(1 if letter < "\x80" else 3 for letter in piece) <= WINDOW for piece in cut)


def test_a_piece_without_spaces_is_cut() -> None:
    """A text of one word is cut at the limit, one that is not ASCII earlier."""
    assert [len(piece) for piece in pieces("a" * (WINDOW + 1))] == [WINDOW, 1]
    assert len(pieces("\u7f8e" * WINDOW)[0]) == WINDOW // 3


def test_log_odds_are_bounded() -> None:
    """Certainty is a finite number."""
    assert log_odds(0.0) == pytest.approx(-log_odds(1.0)) == pytest.approx(-9.21, abs=0.01)
    assert log_odds(0.5) == 0


def test_the_shipped_head_belongs_to_the_shipped_classifier(tmp_path: Path) -> None:
    """The head is read for the weights that it was trained with, and left out beside others or where there is none."""
    head = head_for(load_classifier().version)
    assert head is not None
    assert EmbeddingHead(head, Recorded(None)).model == "all-minilm-l6-v2"
    assert head.header["dimensions"] == 384
    assert head_for("another") is None
    assert head_for(load_classifier().version, tmp_path / "embedding.bin") is None
