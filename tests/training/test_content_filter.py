"""Training of the content filter's classifier: what it reads, that it repeats itself, and how good it is."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.content_filter.embedding import EmbeddingHead, head_for
from freehold.content_filter.ngrams import load_classifier
from freehold.errors import ConfigError
from freehold.training.content_filter.build import train, validate
from freehold.training.content_filter.calibration import cut_points
from freehold.training.content_filter.data import digest_of, read_examples
from freehold.training.content_filter.metrics import average_precision, measured, precision, recall
from freehold.training.content_filter.recipe import CATEGORIES, Recipe
from freehold.training.content_filter.report import report
from freehold.training.content_filter.templates import sentences
from freehold.types.content_filter import Passage, Severity, Side

DATA = Path(__file__).parents[2].parent / "shared" / "data"
QUICK = Recipe(bits=12, folds=2)
WORDS = {"sexual": "apple", "hate": "banana", "violence": "cherry", "self_harm": "damson"}
"""Stands for harm in texts that are quickly learned."""


def quiet(_: str) -> None:
    """Say nothing."""


def labelled(folder: Path) -> Path:
    """A file of texts in which a fruit stands for each category."""
    file = folder / "own.jsonl"
    rows = []
    for number in range(24):
        for name in (None, *CATEGORIES):
            text = f"the {WORDS.get(name or '', 'chair')} of house number {number} is {'old' if number % 2 else 'new'}"
            rows.append({"text": text, **{category: int(category == name) for category in CATEGORIES}})
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=40))
def test_average_precision_is_that_of_its_definition(pairs: list[tuple[bool, int]]) -> None:
    """The area is the sum over thresholds of precision times the gained recall, equal scores being one threshold."""
    truth = np.array([true for true, _ in pairs])
    scores = np.array([score for _, score in pairs], dtype=float)
    found = average_precision(truth, scores)
    if not truth.any():
        assert np.isnan(found)
        return
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        flagged = scores >= threshold
        area += precision(truth, flagged) * (recall(truth, flagged) - before)
        before = recall(truth, flagged)
    assert found == pytest.approx(area)


def test_an_interval_holds_its_figure() -> None:
    """A bootstrap interval is around the figure, and the same each time."""
    truth = np.array([True, False] * 50)
    flagged = np.array([True, True, False, False] * 25)
    figure = measured(precision, truth, flagged)
    assert figure == measured(precision, truth, flagged)
    assert figure.low < figure.value == 0.5 < figure.high


def test_templates_repeat_themselves() -> None:
    """The same seed draws the same sentences, and no group has one twice."""
    first = [(text, tuple(labels.items())) for text, labels in sentences(3)]
    assert first == [(text, tuple(labels.items())) for text, labels in sentences(3)]
    assert len(first) == len(set(first))
    assert first != [(text, tuple(labels.items())) for text, labels in sentences(4)]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.jsonl", "{", "line 1: is no JSON"),
        ("a.jsonl", '{"hate": 1}', "line 1: has no text"),
        ("a.jsonl", '{"text": "a"}\n{"text": "a", "rude": 1}', "line 2: 'rude' is no label; known are sexual"),
        ("a.jsonl", '{"text": "a", "hate": 2}', "line 1: 'hate' is 2; a label is 0 or 1"),
        ("a.jsonl", "\n", "has no labelled text"),
        ("a.csv", "a,b\n1,2\n", "neither the columns 'class' and 'tweet' nor those of Ethos"),
        ("a.csv", "class,tweet\n7,hello\n", "row 2: class '7' is none of 0, 1, 2"),
        ("a.csv", "comment;isHate\nhello;maybe\n", "row 2: has a label that is no number"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    """The complaint names the file, the place and what is wrong."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint) as refused:
        read_examples(tmp_path / name)
    assert name in refused.value.message


def test_the_public_forms_are_read(tmp_path: Path) -> None:
    """Moderation's keys, tweets' classes and the comments of Ethos become labels; what is not known is left out."""
    file = tmp_path / "a.jsonl"
    file.write_text('{"prompt": "a", "S": 1, "H": null, "SH": 0, "S3": 0}\n', encoding="utf-8")
    assert read_examples(file)[0].labels == {"sexual": 1, "self_harm": 0}
    tweets = tmp_path / "b.csv"
    tweets.write_text("class,tweet\n0,RT @somebody: you all\n", encoding="utf-8")
    (tweet,) = read_examples(tweets)
    assert tweet.labels["hate"] == 1
    assert tweet.text.split() == [":", "you", "all"]
    ethos = tmp_path / "c.csv"
    ethos.write_text("comment;isHate\nyou all;0.6\nhello;0.2\n", encoding="utf-8")
    assert [example.labels["hate"] for example in read_examples(ethos)] == [1, 0]
    with pytest.raises(ConfigError, match="licence"):
        read_examples(ethos, Recipe())


@pytest.mark.slow
def test_training_learns_and_repeats_itself(tmp_path: Path) -> None:
    """From own texts come weights that tell them apart, the same ones from the same seed, with a card."""
    own = labelled(tmp_path)
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(asyncio.run(train(QUICK, [], [own], tmp_path / name, quiet)))
    assert made[0].read_bytes() == made[1].read_bytes()
    classifier = load_classifier(made[0])
    for category, word in WORDS.items():
        found = classifier(Passage(f"the {word} of house number 99 is new", Side.PROMPT))
        assert found.severities.get(category, 0) >= Severity.MEDIUM  # type: ignore[call-overload]
    assert not classifier(Passage("the chair of house number 99 is new", Side.PROMPT)).severities
    assert digest_of("The apple of house number 0 is NEW") in classifier.seen
    assert classifier.version in (tmp_path / "first" / "card.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_head_is_trained_with_vectors(tmp_path: Path) -> None:
    """With vectors of the texts a head comes beside the weights, tied to them; of too few texts it is refused."""
    own = labelled(tmp_path)
    texts = [example.text for example in read_examples(own)]
    vectors = [[[1.0 if word in text else 0.0 for word in WORDS.values()] + [0.1]] for text in texts]
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps({"model": "small", "vectors": vectors}), encoding="utf-8")
    made = asyncio.run(train(QUICK, [], [own], tmp_path, quiet, file))
    head = head_for(load_classifier(made).version, made.with_name("embedding.bin"))
    assert head is not None
    stage = EmbeddingHead(head, _no_vectors)
    assert stage.model == "small"
    file.write_text(json.dumps({"model": "small", "vectors": vectors[1:]}), encoding="utf-8")
    with pytest.raises(ConfigError, match="there are vectors of 119 texts, and 120 labelled texts"):
        asyncio.run(train(QUICK, [], [own], tmp_path, quiet, file))


@pytest.mark.slow
def test_the_embedding_stage_is_cross_validated(tmp_path: Path) -> None:
    """With vectors both are told: the head asked about every text, and only about those that are not sure."""
    own = labelled(tmp_path)
    texts = [example.text for example in read_examples(own)]
    vectors = [[[1.0 if word in text else 0.0 for word in WORDS.values()] + [0.1]] for text in texts]
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps({"model": "small", "vectors": vectors}), encoding="utf-8")
    found = asyncio.run(validate(QUICK, own, [], quiet, file))
    assert found.judged is not None
    assert found.served is not None
    assert report(found.judged).mean_auprc == pytest.approx(1.0, abs=0.02)
    asked = sum(a != b for a, b in zip(found.served.scores, found.classifier.scores, strict=True))
    assert asked == pytest.approx(found.asked * len(texts))
    assert 0 <= found.asked < 1


async def _no_vectors(_: object) -> None:
    """No embedding model runs."""


def test_cuts_keep_to_the_budget_and_to_their_order() -> None:
    """Low, medium and high never fall, and no more harmless texts than allowed reach medium in any category."""
    draw = np.random.default_rng(5)
    for budget in (0.0, 0.05, 0.2):
        labels = (draw.random((400, 4)) < 0.15).astype(float)
        probabilities = np.clip(0.3 * labels + draw.random((400, 4)) * 0.7, 0, 1)
        harmless = labels.sum(axis=1) == 0
        cuts = cut_points(probabilities, labels, harmless, budget)
        flagged = np.column_stack([probabilities[:, n] >= cuts[name][1] for n, name in enumerate(CATEGORIES)])
        assert flagged[harmless].any(axis=1).mean() <= budget
        assert (flagged & (labels == 1)).any(axis=0).all() or budget == 0.0
        assert all(low <= medium <= high for low, medium, high in cuts.values())


@pytest.mark.slow
def test_too_few_texts_are_refused(tmp_path: Path) -> None:
    """What nothing can be calibrated with is refused with the number that is there."""
    file = tmp_path / "few.jsonl"
    file.write_text('{"text": "a", "hate": 1}\n' * 9, encoding="utf-8")
    with pytest.raises(ConfigError, match="there are 0 different harmful texts of 'sexual' to calibrate with"):
        asyncio.run(train(QUICK, [], [file], tmp_path, quiet))


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the public data are not here")
def test_cross_validation_reaches_its_target() -> None:
    """By weights that have not seen a text: mean AUPRC at least 0.62, over-blocking at most 5 %."""
    tweets = DATA / "davidson-hate-offensive.csv"
    figures = report(asyncio.run(validate(Recipe(), DATA / "moderation-dev.jsonl", [tweets], quiet)).classifier)
    assert figures.mean_auprc >= 0.62
    assert figures.over_blocking.value <= 0.05
    assert figures.texts == 779
