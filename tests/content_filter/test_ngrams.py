"""The shipped classifier: what it finds, that it computes what its features say, and that its cost is bounded."""

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from freehold.content_filter.features import WINDOW_WORDS, pair_row, windows, word_rows, words_of
from freehold.content_filter.ngrams import CENTRE, SHORT, SQUARE_STEPS, NgramClassifier, load_classifier
from freehold.content_filter.normalise import plain
from freehold.content_filter.weights_file import WeightsFile, read_weights, write_weights
from freehold.errors import ConfigError
from freehold.types.content_filter import Category, Findings, Passage, Severity, Side

BITS = 10
HEADS = (*Category, "harassment")


def passage(text: str) -> Passage:
    """A prompt."""
    return Passage(text, Side.PROMPT)


def header(cuts: Mapping[str, list[float]] | None = None) -> dict[str, object]:
    """Of small weights."""
    return {
        "kind": "ngrams",
        "heads": list(HEADS),
        "steps": [0.5] * len(HEADS),
        "calibration": [[2.0, -1.0]] * len(HEADS),
        "cuts": cuts or {category.value: [0.3, 0.6, 0.9] for category in Category},
        "bands": {category.value: [0.2, 0.9] for category in Category},
    }


def rows() -> bytearray:
    """A table in which every row has a lane of its own value."""
    table = bytearray((1 << BITS) * (len(HEADS) + 2))
    for row in range(1 << BITS):
        values = [1 + row % 200, 1, *((CENTRE + (row * (lane + 3)) % 11 - 5) for lane in range(len(HEADS)))]
        table[row * len(values) : (row + 1) * len(values)] = bytes(values)
    return table


def small() -> NgramClassifier:
    """A classifier with weights that are quickly made."""
    return NgramClassifier(WeightsFile(header(), {"rows": bytes(rows())}, "00" * 32))


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("I want to kill myself, there is no point anymore", Category.SELF_HARM),
        ("I hate immigrants, they are all vermin and we must get rid of them", Category.HATE),
        ("She took off her clothes and they had sex all night", Category.SEXUAL),
        ("All of the traitors should be executed, I hope they get a bullet in the head", Category.VIOLENCE),
    ],
)
def test_what_is_harmful_is_found(text: str, category: Category) -> None:
    """A plain example of each category has at least a low severity, also with look-alikes and hidden characters."""
    for written in (text, text.upper(), text.replace("e", "\u0435").replace("l", "l\u200b")):
        assert load_classifier()(passage(written)).severities.get(category, 0) >= Severity.LOW


@pytest.mark.parametrize(
    "text",
    [
        "Natalia sold clips to 48 of her friends in April. How many did she sell altogether?",
        "Could you summarise the minutes of yesterday's meeting about the garden?",
        "How do I reset the password of my router?",
        "Explain photosynthesis to a ten year old.",
    ],
)
def test_what_is_harmless_passes(text: str) -> None:
    """An everyday question has no severity from medium on."""
    assert max(load_classifier()(passage(text)).severities.values(), default=Severity.SAFE) < Severity.MEDIUM


def test_every_score_is_a_probability() -> None:
    """The four categories and OpenAI's finer ones have scores between 0 and 1."""
    scores = load_classifier()(passage("You are stupid and I will kill you, child.")).scores
    assert set(scores) == {
        "sexual", "sexual/minors", "hate", "hate/threatening", "harassment", "harassment/threatening", "violence",
        "violence/graphic", "self_harm", "self-harm/intent", "self-harm/instructions", "illicit", "illicit/violent",
    }  # fmt: skip
    assert all(0 <= score <= 1 for score in scores.values())


@given(st.text())
def test_logits_are_the_sum_over_features(text: str) -> None:
    """The packed sums are those of the table's rows: of each different word and pair of words, by their lanes."""
    words = words_of(text)[:WINDOW_WORDS]
    mask = (1 << BITS) - 1
    found = [row for word in set(words) for row in word_rows(word, mask)]
    found += [pair_row(first, second, mask) for first, second in set(pairwise(words))]
    table = rows()
    width = len(HEADS) + 2
    squares = sum(table[row * width] for row in found) / SQUARE_STEPS
    expected = [
        sum(table[row * width + 2 + lane] - CENTRE for row in found) / (squares + SHORT) ** 0.5 if found else 0.0
        for lane in range(len(HEADS))
    ]
    assert small().logits(words) == pytest.approx(expected)


@given(st.text())
def test_the_same_text_gives_the_same_findings(text: str) -> None:
    """Caches change nothing."""
    classifier = small()
    assert classifier(passage(text)) == classifier(passage(text)) == small()(passage(text))
    assert classifier.pending(text) == 0


def test_a_long_text_is_as_bad_as_its_worst_window() -> None:
    """A harmful sentence is found wherever it stands in a long harmless text."""
    harm = (
        "I want to kill myself, there is no point anymore, I feel worthless and I am going to end my life tonight. "
        * 10
    )
    calm = "The garden has apple trees and a bench, and in the evening the neighbours water the flowers. " * 60
    alone = load_classifier()(passage(harm)).scores["self_harm"]
    for text in (harm + calm, calm + harm, calm + harm + calm):
        found = load_classifier()(passage(text))
        assert found.severities[Category.SELF_HARM] >= Severity.MEDIUM
        assert found.scores["self_harm"] >= alone / 2


@given(st.integers(0, 2000))
def test_windows_cover_every_word(count: int) -> None:
    """No word is left out, no window is longer than allowed, and two that follow one another overlap."""
    words = [str(number) for number in range(count)]
    cut = list(windows(words))
    assert set().union(*cut) == set(words)
    assert all(len(window) <= WINDOW_WORDS for window in cut)
    assert all(set(first) & set(second) for first, second in pairwise(cut))


@given(st.text(st.sampled_from("aB' -_.\u00e9\t'7")) | st.text())
@example("''don't ''a'' 'b' \x00'\x00'c")
def test_words_are_letters_and_apostrophes_between_them(text: str) -> None:
    """Splitting an ASCII text and searching another with a pattern give the same words."""
    assert "".join(words_of(text)) == "".join(re.findall(r"\w+(?:'\w+)*", plain(text)))
    if not re.search(r"\w{24}", text):
        assert [word for word in words_of(text) if len(word) < 24] == [
            word for word in re.findall(r"\w+(?:'\w+)*", plain(text)) if len(word) < 24
        ]


def test_a_word_without_an_end_is_cut() -> None:
    """A text without spaces is words of a bounded length."""
    assert {len(word) for word in words_of("a" * 100_000)} == {24, 100_000 % 24}


def test_severities_follow_the_cuts() -> None:
    """A probability at a cut has its severity, and scores within the band make the classifier unsure."""
    classifier = small()
    scores = dict.fromkeys((*HEADS,), 0.0)
    found = classifier.findings({**scores, "hate": 0.6, "sexual": 0.29, "violence": 0.95})
    assert found.severities == {Category.HATE: Severity.MEDIUM, Category.VIOLENCE: Severity.HIGH}
    assert found.unsure
    assert not classifier.findings(scores).unsure
    assert not classifier.findings({**scores, "violence": 0.95}).unsure


def test_no_words_no_findings() -> None:
    """A text without words is not judged."""
    assert load_classifier()(passage(" !? ")) == Findings()


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    """A file that is missing, is no weights, is damaged or is of another kind is refused by name."""
    file = tmp_path / "weights.bin"
    with pytest.raises(ConfigError, match=r"weights\.bin cannot be read"):
        read_weights(file, "ngrams")
    file.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="has no weights of the content filter"):
        read_weights(file, "ngrams")
    digest = write_weights(file, header(), {"rows": bytes(rows())})
    assert read_weights(file, "ngrams").sha256 == digest
    with pytest.raises(ConfigError, match="of kind 'ngrams'; wanted are those of kind 'embedding'"):
        read_weights(file, "embedding")
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is damaged"):
        read_weights(file, "ngrams")


@given(
    st.lists(
        st.sampled_from(["hello", "kill", "stupid", "you", "I", "will", "child", "sex", "cake"]),
        min_size=1,
        max_size=300,
    )
)
def test_what_is_not_looked_at_would_have_been_found_the_same(words: list[str]) -> None:
    """A text that is told to be clean without its probabilities is clean by them too, and they are all there."""
    classifier = load_classifier()
    found = classifier(passage(" ".join(words)))
    expected = classifier.findings(found.scores)
    assert (found.severities, found.unsure) == (expected.severities, expected.unsure)
    assert found.scores.keys() == classifier.scores(["word"]).keys()
