"""Conversations out of a text, and the files that fine-tuning and evaluations take."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.cli.eval_file import read_eval
from freehold.errors import ConfigError
from freehold.training.finetune.dataset import check_file
from freehold.training.language.conversation_files import write_conversations
from freehold.training.language.conversations import (
    ConversationSettings,
    Exchange,
    preferences,
    read_conversations,
)

SMALL = ConversationSettings(held_out=0.25)


def play(speeches: int = 80) -> str:
    """Speakers who take turns; each says where in the play it is, and now and then somebody goes on."""
    names = ("First Citizen", "ROMEO", "Ghost of York")
    return "\n".join(f"{names[(at - at // 7) % 3]}:\nSpeech {at:03} says\nmore.\n" for at in range(speeches))


def prose(paragraphs: int = 80) -> str:
    """Paragraphs of two sentences."""
    return "\n\n".join(f"It is day {at}. The rain\nhas come for the {at}th time." for at in range(paragraphs))


def lay(folder: Path, text: str) -> Path:
    """A file with a text."""
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    return path


def lines(path: Path) -> list[Any]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_in_a_play_the_next_speech_is_the_answer(tmp_path: Path) -> None:
    """What one says is asked, what the next one says is the answer; nobody answers himself, and names are left out."""
    found = read_conversations([lay(tmp_path, play())], SMALL)
    assert found.form == "play"
    for exchange in (*found.training, *found.held_out):
        asked, answered = (int(text.split()[1]) for text in (exchange.asked, exchange.answered))
        assert answered == asked + 1
        assert answered % 7 != 0  # there the same speaker goes on
        assert exchange.asked == f"Speech {asked:03} says\nmore."


def test_in_prose_a_paragraph_goes_on(tmp_path: Path) -> None:
    """A paragraph is cut where a sentence ends, its first half is asked and the second is the answer."""
    found = read_conversations([lay(tmp_path, prose())], SMALL)
    assert found.form == "prose"
    assert Exchange("It is day 7.", "The rain has come for the 7th time.") in (*found.training, *found.held_out)


def test_the_end_of_the_text_is_held_out(tmp_path: Path) -> None:
    """Everything that is held out stands behind everything that is learnt, and nothing is asked on both sides."""
    found = read_conversations([lay(tmp_path, play())], SMALL)
    learnt, held = ([int(each.asked.split()[1]) for each in side] for side in (found.training, found.held_out))
    assert max(learnt) < 60 <= min(held)
    assert sorted(learnt) != learnt, "the order is drawn"


def test_the_same_text_gives_the_same_files(tmp_path: Path) -> None:
    """Two runs write the same bytes, another seed others, and what was there before is replaced whole."""
    text = lay(tmp_path, play())

    def written(seed: int) -> dict[str, bytes]:
        found = read_conversations([text], SMALL.model_copy(update={"seed": seed}))
        return {path.name: path.read_bytes() for path, _ in write_conversations(found, "play", tmp_path / "out", 20)}

    first = written(1)
    assert written(1) == first
    assert written(2)["training.jsonl"] != first["training.jsonl"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(first)


@pytest.mark.parametrize("text", [play(), prose()], ids=["play", "prose"])
def test_the_files_are_what_tune_and_eval_take(text: str, tmp_path: Path) -> None:
    """Examples and pairs pass the check of a fine-tuning job, and the evaluation is one that can be run."""
    found = read_conversations([lay(tmp_path, text)], SMALL)
    write_conversations(found, 'a "play"', tmp_path, 20)
    for name, method in (("training", "supervised"), ("validation", "supervised")):
        assert check_file(tmp_path / f"{name}.jsonl", method).explain() == ""  # type: ignore[arg-type]
        assert check_file(tmp_path / f"preferences-{name}.jsonl", "dpo").explain() == ""
    evaluation = read_eval(tmp_path / "evaluation.toml")
    assert evaluation.request["name"] == 'a "play"'
    assert [each["name"] for each in evaluation.request["testing_criteria"]] == [
        "comes to an end",
        "one answer",
        "words of the text",
    ]
    items: list[Mapping[str, Any]] = [line["item"] for line in evaluation.source["content"]]
    assert [item["asked"] for item in items] == [each.asked for each in found.held_out]


def test_the_worse_answer_is_the_same_words(tmp_path: Path) -> None:
    """Of each pair the answer of the text is preferred; the other has its words in another order."""
    found = read_conversations([lay(tmp_path, play())], SMALL)
    write_conversations(found, "play", tmp_path, 20)
    for name, side in (("training", found.training[:20]), ("validation", found.held_out)):
        pairs = lines(tmp_path / f"preferences-{name}.jsonl")
        assert len(pairs) == len(side)
        for pair, exchange in zip(pairs, side, strict=True):
            preferred, other = (pair[key][0]["content"] for key in ("preferred_output", "non_preferred_output"))
            assert preferred == exchange.answered
            assert other.split() != preferred.split()
            assert sorted(other.split()) == sorted(preferred.split())


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=12), max_size=10))
def test_an_answer_of_one_order_makes_no_pair(answers: list[list[str]]) -> None:
    """Answers whose words differ have a worse one, the same each time, and those of a single word have none."""
    exchanges = [Exchange(str(at), " ".join(words)) for at, words in enumerate(answers)]
    found = preferences(exchanges)
    assert found == preferences(exchanges)
    assert {each.exchange.asked for each in found} <= {
        str(at) for at, words in enumerate(answers) if len(set(words)) > 1
    }
    assert {str(at) for at, words in enumerate(answers) if len(set(words)) > 2} <= {
        each.exchange.asked for each in found
    }


def test_no_more_are_kept_than_were_asked_for(tmp_path: Path) -> None:
    """Of many exchanges so many are drawn, short enough ones only, and each once though the text has it twice."""
    speeches = [f"A{at % 2}:\n{'long ' * (at % 40)}{at}\n" for at in range(400)] * 2
    random.Random(3).shuffle(speeches)
    text = lay(tmp_path, "\n".join(speeches))
    found = read_conversations([text], ConversationSettings(most=20, longest=60, held_out=0.4))
    assert len(found.training) == len(set(found.training)) == 20
    assert all(len(each.asked) <= 60 and len(each.answered) <= 60 for each in found.training)


def test_a_text_of_one_endless_line_is_read_in_pieces(tmp_path: Path) -> None:
    """A text without line ends is cut into passages, and not held as a whole."""
    sentences = " ".join(f"This is sentence {at} of them all." for at in range(3000))
    found = read_conversations([lay(tmp_path, sentences)], ConversationSettings(longest=4000, held_out=0.5))
    assert found.form == "prose"
    assert len(found.training) >= 10
    assert max(len(each.asked) + len(each.answered) for each in found.training) <= 6000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"A:\nb\n\nB:\nc\n", "the text has 0 exchanges"),
        (b"\xff\xfe" * 100, "is not UTF-8"),
        (b"", "the text has 0 exchanges"),
    ],
)
def test_a_text_that_gives_nothing_is_refused(text: bytes, told: str, tmp_path: Path) -> None:
    """Too little text, and what is no UTF-8, are errors that say so."""
    path = tmp_path / "text.txt"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=told):
        read_conversations([path], SMALL)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error names the file, also where it is not the first."""
    there = lay(tmp_path, play())
    with pytest.raises(ConfigError, match=r"gone\.txt cannot be read"):
        read_conversations([there, tmp_path / "gone.txt"], SMALL)
