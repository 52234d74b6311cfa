"""Conversations out of a text, for a model that learnt to write from it and is now to answer.

In a play, who is spoken to answers: a speech is what the user says, and the next one is the answer. In any other text a
paragraph's beginning is said, and its continuation is the answer. The end of the text is held out, as pre-training
holds it out too. The same text and settings give the same files, and a text of any length is read in bounded memory.
"""

import hashlib
import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from random import Random
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from freehold.errors import ConfigError
from freehold.types.base import SettingsModel

Form: TypeAlias = Literal["play", "prose"]

MIN_EXCHANGES: Final = 10
"""On either side of the split; a fine-tuning job takes no fewer."""
_LOOKED_AT: Final = 1000
"""Passages by which it is decided whether a text is a play."""
_MOST_CHARACTERS: Final = 4096
"""Of a passage; a longer one is cut."""
_PIECE_CHARACTERS: Final = 1024
"""Of what is read at once: a line, or a part of a longer one."""
_SPEECH: Final = re.compile(r"([^\n:.!?]{1,40}):\n(.+)", re.DOTALL)
"""A speech as plain texts of plays have it: the speaker's name and a colon on a line, what is said below."""
_DRAWS: Final = 20
"""Orders of words that are looked at for another one."""
_SENTENCE_END: Final = re.compile(r"(?<=[.!?…;:])\s+")


class ConversationSettings(SettingsModel):
    """How conversations are made of a text."""

    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The share at the end of the text of which nothing is learnt."""
    longest: Annotated[int, Field(ge=16, le=4000)] = 240
    """Characters of a question or an answer at most."""
    most: Annotated[int, Field(ge=MIN_EXCHANGES, le=100_000)] = 4000
    """Exchanges to learn from at most; which ones is drawn."""
    most_pairs: Annotated[int, Field(ge=MIN_EXCHANGES, le=100_000)] = 2000
    """Of these so many that come with a worse answer, to learn preferences from."""
    most_held_out: Annotated[int, Field(ge=MIN_EXCHANGES, le=10_000)] = 200
    seed: Annotated[int, Field(ge=0)] = 1
    """By which they are drawn."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is said, and the answer to it."""

    asked: str
    answered: str


@dataclass(frozen=True, slots=True)
class Preference:
    """An exchange, and an answer of the same words that says nothing."""

    exchange: Exchange
    other: str


@dataclass(frozen=True, slots=True)
class Conversations:
    """What was found in a text.

    Args:
        form: of the text.
        training: to be learnt, in an order that was drawn.
        held_out: from the end of the text, likewise; nothing in it is asked in `training`.
    """

    form: Form
    training: tuple[Exchange, ...]
    held_out: tuple[Exchange, ...]


@dataclass(frozen=True, slots=True)
class _Passage:
    """Lines of a text between empty ones, and whether they lie in the part that is held out."""

    text: str
    held_out: bool


def read_conversations(texts: Sequence[Path], settings: ConversationSettings) -> Conversations:
    """Read texts, one after another, as conversations.

    Raises:
        ConfigError: one cannot be read or is not UTF-8, or there is too little in them.
    """
    form = _form(texts)
    of_form: Callable[[Iterator[_Passage]], Iterator[tuple[Exchange, bool]]] = _replies if form == "play" else _halves
    training, held_out = _Drawn(settings.most, settings.seed), _Drawn(settings.most_held_out, settings.seed)
    ends = (1 - settings.held_out) * sum(map(_size, texts))
    for path in texts:
        for exchange, late in of_form(_passages(path, ends)):
            if max(len(exchange.asked), len(exchange.answered)) <= settings.longest:
                (held_out if late else training).take(exchange)
        ends -= _size(path)
    learnt = training.in_order()
    known = {exchange.asked for exchange in learnt}
    asked = tuple(exchange for exchange in held_out.in_order() if exchange.asked not in known)
    for name, found in (("to learn from", learnt), ("at the end, which is held out,", asked)):
        if len(found) < MIN_EXCHANGES:
            raise ConfigError(
                f"the text has {len(found)} exchanges {name} and {MIN_EXCHANGES} are the least; give more text, or "
                f"allow longer ones than {settings.longest} characters (--longest)"
            )
    return Conversations(form, learnt, asked)


def preferences(exchanges: Sequence[Exchange]) -> list[Preference]:
    """Each exchange with the words of its answer in another order; one whose words have no other has none.

    So which answer is the better one cannot be told by its length or by its words, and a small model learns it too: to
    tell which of two answers belongs to what was said, it would have to understand that. The answer decides the order.
    """
    found = []
    for exchange in exchanges:
        words = exchange.answered.split()
        drawn = Random(hashlib.sha256(exchange.answered.encode()).digest())  # noqa: S311  # no secret
        orders = (drawn.sample(words, len(words)) for _ in range(_DRAWS))
        other = next((order for order in orders if order != words), None)
        if other is not None:
            found.append(Preference(exchange, " ".join(other)))
    return found


class _Drawn:
    """So many exchanges, drawn from all that are taken, each once: those whose digests are the least."""

    def __init__(self, most: int, seed: int) -> None:
        self._most = most
        self._seed = seed
        self._kept: list[tuple[int, Exchange]] = []
        self._digests: set[int] = set()

    def take(self, exchange: Exchange) -> None:
        said = f"{self._seed}\0{exchange.asked}\0{exchange.answered}".encode()
        digest = -int.from_bytes(hashlib.sha256(said).digest()[:16])
        if digest in self._digests:
            return
        self._digests.add(digest)
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, (digest, exchange))
            return
        gone, _ = heapq.heappushpop(self._kept, (digest, exchange))
        self._digests.remove(gone)

    def in_order(self) -> tuple[Exchange, ...]:
        """Those that were drawn, the least digest first."""
        return tuple(exchange for _, exchange in sorted(self._kept, key=lambda kept: -kept[0]))


def _form(texts: Sequence[Path]) -> Form:
    """A text is a play if most of its first passages are speeches."""
    first = list(islice(chain.from_iterable(_passages(path, 0) for path in texts), _LOOKED_AT))
    speeches = sum(_SPEECH.fullmatch(passage.text) is not None for passage in first)
    return "play" if 2 * speeches > len(first) else "prose"


def _replies(passages: Iterator[_Passage]) -> Iterator[tuple[Exchange, bool]]:
    """Each speech with the next; the one that spoke does not answer itself."""
    for one, next_one in pairwise(passages):
        said, answer = _SPEECH.fullmatch(one.text), _SPEECH.fullmatch(next_one.text)
        if said and answer and said[1] != answer[1] and one.held_out == next_one.held_out:
            yield Exchange(said[2], answer[2]), one.held_out


def _halves(passages: Iterator[_Passage]) -> Iterator[tuple[Exchange, bool]]:
    """Each paragraph, cut at the sentence's end that is nearest to its middle, or else between two words."""
    for passage in passages:
        text = " ".join(passage.text.split())
        cuts = list(_SENTENCE_END.finditer(text)) or list(re.finditer(r"\s+", text))
        if cuts:
            cut = min(cuts, key=lambda found: abs(found.start() - len(text) / 2))
            yield Exchange(text[: cut.start()], text[cut.end() :]), passage.held_out


def _passages(path: Path, ends: float) -> Iterator[_Passage]:
    """The passages of a file; those behind the byte `ends` are held out, and the one that lies across it is neither."""
    at = began = 0
    held = ""
    for line in chain(_lines(path), ("",)):
        at += len(line.encode())
        if line.strip():
            held += line
        if held and (not line.strip() or len(held) > _MOST_CHARACTERS):
            if at <= ends or began >= ends:
                yield _Passage("\n".join(each.strip() for each in held.splitlines()), began >= ends)
            held = ""
        began = began if held else at


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, very long ones in pieces.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            while line := file.readline(_PIECE_CHARACTERS):
                yield line
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 ({exc.reason}); convert it first") from exc


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
