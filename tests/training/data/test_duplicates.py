"""Documents that were there before are found, and those that were not are kept."""

import random
from pathlib import Path

import pytest

from freehold.training.data.duplicates import Seen, Twin, normalised
from freehold.training.data.settings import DuplicateSettings

pytestmark = pytest.mark.torch

NEAR = DuplicateSettings(kind="near")


def words(count: int, seed: int) -> list[str]:
    """Words that are drawn."""
    draw = random.Random(seed)
    return ["".join(draw.choices("abcdefghij", k=5)) for _ in range(count)]


def changed(text: list[str], count: int, seed: int) -> list[str]:
    """A text of which so many words are others."""
    draw, made = random.Random(seed), list(text)
    for place in draw.sample(range(len(text)), count):
        made[place] = "other"
    return made


def judged(folder: Path, texts: list[str], settings: DuplicateSettings = NEAR) -> list[Twin | None]:
    """What is said of texts, one after another."""
    with Seen(folder / "seen.db", settings, 0) as seen:
        return [seen.judge(number, text, "a.txt", number + 1) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("To be, or not to be", "to  be,\nOR not\tto be "),
        ("naïve ﬁne", "nai\u0308ve fine"),
        ("x\u00a0y", "X Y"),
    ],
)
def test_the_same_text_is_found(tmp_path: Path, first: str, second: str) -> None:
    """Case, spaces and forms of characters do not make another text."""
    assert normalised(first) == normalised(second)
    assert judged(tmp_path, [first, second]) == [None, Twin("exact", 0, 1.0)]


def test_another_text_is_kept(tmp_path: Path) -> None:
    """A text that differs by a word is another where only the same is looked for."""
    settings = DuplicateSettings(kind="exact")
    assert judged(tmp_path, ["to be or not", "to be or yes"], settings) == [None, None]


def test_similar_texts_are_found(tmp_path: Path) -> None:
    """Of texts with two words of 300 changed nearly all are found; of those that share half, none is."""
    found = far = 0
    for seed in range(30):
        text = words(300, seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        _, near, other = judged(folder, [" ".join(each) for each in (text, changed(text, 2, 1), changed(text, 45, 2))])
        found += near is not None and near.kind == "near" and near.similarity >= NEAR.threshold
        far += other is not None
    assert found >= 28
    assert far == 0


def test_texts_without_spaces_are_compared(tmp_path: Path) -> None:
    """In a script without spaces characters are compared as words are elsewhere."""
    draw = random.Random(3)
    text = "".join(chr(draw.randrange(0x4E00, 0x9000)) for _ in range(400))
    near = f"{text[:200]}新{text[201:]}"
    _, second, third = judged(tmp_path, [text, near, text[::-1]])
    assert second is not None
    assert third is None


def test_short_texts_are_compared(tmp_path: Path) -> None:
    """A text with fewer words than a run is similar only to its equals, and one without any words is a text too."""
    assert judged(tmp_path, ["one two", "one three", "!!!", "???", "one, two"]) == [
        None,
        None,
        None,
        Twin("near", 2, 1.0),
        Twin("near", 0, 1.0),
    ]


def test_the_same_seed_says_the_same(tmp_path: Path) -> None:
    """What is said depends on texts and settings alone."""
    texts = [" ".join(changed(words(100, seed % 7), seed // 7, seed)) for seed in range(60)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert judged(tmp_path / "a", texts) == judged(tmp_path / "b", texts)


@pytest.mark.parametrize("committed", [0, 1, 17, 40])
def test_what_was_not_committed_is_forgotten(tmp_path: Path, committed: int) -> None:
    """After a kill, what is said of the texts behind the last commit is what would have been said."""
    texts = [" ".join(changed(words(80, seed % 5), seed // 5, seed)) for seed in range(40)]
    (tmp_path / "whole").mkdir()
    whole = judged(tmp_path / "whole", texts)
    path = tmp_path / "seen.db"
    with Seen(path, NEAR, 0) as seen:
        for number in range(40):
            seen.judge(number, texts[number], "a.txt", number + 1)
            if number == 30:
                seen.commit()
    with Seen(path, NEAR, min(committed, 31)) as seen:
        rest = [seen.judge(number, texts[number], "a.txt", number + 1) for number in range(min(committed, 31), 40)]
    assert rest == whole[min(committed, 31) :]


def test_what_was_left_out_is_listed(tmp_path: Path) -> None:
    """Each document that was left out is named with the one that stayed; what is held out counts as there before."""
    with Seen(tmp_path / "seen.db", NEAR, 0) as seen:
        seen.judge(-1, "a question of the test", "test.jsonl", 1)
        seen.judge(-2, "a question of the test", "test.jsonl", 2)
        assert seen.judge(0, "A question of the test", "a.jsonl", 5) == Twin("exact", -1, 1.0)
        assert seen.judge(1, "another text", "a.jsonl", 6, remember=False) is None
        assert seen.judge(2, "another text", "a.jsonl", 7) is None
        assert seen.judge(3, "another text", "b.jsonl", 1) == Twin("exact", 2, 1.0)
        listed = [(each.kind, each.file, each.place, each.twin_file, each.twin_place) for each in seen.dropped()]
    assert listed == [("exact", "a.jsonl", 5, "test.jsonl", 1), ("exact", "b.jsonl", 1, "a.jsonl", 7)]
