"""Labelled texts: files in, examples out."""

import csv
import hashlib
import html
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from freehold.content_filter.normalise import plain
from freehold.errors import ConfigError
from freehold.training.content_filter.recipe import HEADS, Recipe
from freehold.training.content_filter.templates import sentences

MODERATION_KEYS = {
    "S": "sexual", "H": "hate", "V": "violence", "SH": "self_harm", "HR": "harassment", "H2": "hate/threatening",
    "V2": "violence/graphic",
}  # fmt: skip
"""The keys of openai/moderation-api-release (arXiv 2208.03274); S3, sexual content with minors, is not read."""
TWEET_CLASSES: Mapping[str, Mapping[str, int]] = {
    "0": {"hate": 1, "self_harm": 0, "violence/graphic": 0},
    "1": {"hate": 0, "violence": 0, "self_harm": 0, "violence/graphic": 0},
    "2": dict.fromkeys(HEADS[:7], 0),
}
"""Of t-davidson/hate-speech-and-offensive-language: hate, offensive, neither. Offensive tweets say nothing about
sexual content and harassment: most of them are rude words among friends."""
_TWITTER = re.compile(r"@\w+|https?://\S+|\brt\b|&\w+;")


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled text.

    Args:
        text: as it was written.
        labels: heads → 0 or 1; a head that is left out is not known.
        weight: how much it counts in training.
        primary: whether calibration and cut points are made from it: a text such as those that will be judged.
    """

    text: str
    labels: Mapping[str, int]
    weight: float = 1.0
    primary: bool = True

    @property
    def harmless(self) -> bool:
        """Whether it carries no harm label."""
        return not any(self.labels.values())


def training_examples(data: Iterable[Path], own: Iterable[Path], recipe: Recipe) -> list[Example]:
    """All of a training: files in a public form, files of one's own, and the templates' sentences.

    Raises:
        ConfigError: a file cannot be read, or has a line that is no example.
    """
    examples = [example for path in (*data, *own) for example in read_examples(path, recipe)]
    examples += [
        Example(text, labels, recipe.template_weight, primary=False) for text, labels in sentences(recipe.seed)
    ]
    return examples


def read_examples(path: Path, recipe: Recipe | None = None) -> list[Example]:
    """The examples of a file: JSONL with labels by name, or the CSV of Davidson's tweets.

    Args:
        path: the file.
        recipe: what part of the tweets is drawn and how they count; without it all are read.

    Raises:
        ConfigError: it cannot be read, or has a line that is no example.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read as a file of labelled texts: {exc}") from exc
    examples = list(_read_csv(path, content, recipe) if path.suffix == ".csv" else _read_jsonl(path, content))
    if not examples:
        raise ConfigError(f"{path} has no labelled text")
    return examples


def digest_of(text: str) -> bytes:
    """Names a text without telling it: the first eight bytes of the SHA-256 of its normalised form."""
    return hashlib.sha256(plain(text).encode(errors="surrogatepass")).digest()[:8]


def _read_jsonl(path: Path, content: str) -> Iterator[Example]:
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            yield _example(f"{path}, line {number}", line)


def _example(place: str, line: str) -> Example:
    """A line's example.

    Raises:
        ConfigError: it is none.
    """
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise ConfigError(f"{place}: is no JSON: {exc}") from exc
    text = (fields.get("text") or fields.get("prompt")) if isinstance(fields, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{place}: has no text; each line is an object with 'text' (or 'prompt') and labels")
    labels: dict[str, int] = {}
    for key, value in fields.items():
        head = MODERATION_KEYS.get(key, key.replace("-", "_") if key == "self-harm" else key)
        if key in {"text", "prompt", "S3"} or value is None:
            continue
        if head not in HEADS:
            raise ConfigError(f"{place}: '{key}' is no label; known are {', '.join(HEADS)}")
        labels[head] = _label(place, key, value)
    return Example(text, labels)


def _label(place: str, key: str, value: Any) -> int:
    if value not in {0, 1}:
        raise ConfigError(f"{place}: '{key}' is {value!r}; a label is 0 or 1, and left out where it is not known")
    return int(value)


def _read_csv(path: Path, content: str, recipe: Recipe | None) -> Iterator[Example]:
    """Davidson's tweets, or the comments of Ethos.

    Raises:
        ConfigError: it is neither.
    """
    columns = content.partition("\n")[0].strip()
    if columns.startswith("comment;"):
        if recipe is not None:
            raise ConfigError(
                f"{path}: Ethos has a licence (GPL-3.0) that does not allow to ship what is trained on it"
            )
        yield from _read_ethos(path, content)
        return
    if not {"class", "tweet"} <= set(columns.split(",")):
        raise ConfigError(f"{path}: has neither the columns 'class' and 'tweet' nor those of Ethos")
    draw = random.Random(recipe.seed if recipe else 0)  # noqa: S311  # a sample is no secret
    for number, row in enumerate(csv.DictReader(content.splitlines(keepends=True)), 2):
        labels = TWEET_CLASSES.get(row["class"])
        if labels is None:
            raise ConfigError(f"{path}, row {number}: class '{row['class']}' is none of 0, 1, 2")
        if recipe is None or draw.random() < recipe.tweets[int(row["class"])]:
            text = _TWITTER.sub(" ", html.unescape(row["tweet"]).lower())
            yield Example(text, labels, recipe.tweet_weight if recipe else 1.0, primary=recipe is None)


def _read_ethos(path: Path, content: str) -> Iterator[Example]:
    """Comments with `isHate`, or with kinds of hate, which are all hate; half of the annotators are enough for yes."""
    for number, row in enumerate(csv.DictReader(content.splitlines(keepends=True), delimiter=";"), 2):
        try:
            hate = "isHate" not in row or float(row["isHate"]) >= 0.5
            labels = {"hate": int(hate)}
            if "violence" in row:
                labels["hate/threatening"] = int(float(row["violence"]) >= 0.5)
            yield Example(row["comment"], labels)
        except (TypeError, ValueError) as exc:
            raise ConfigError(f"{path}, row {number}: has a label that is no number") from exc
