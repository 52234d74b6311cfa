"""From files to token shards: read, leave out duplicates, choose a side, cut into tokens, write; exactly once each.

    shards = Preparation(settings, Path("data"), print).run()

Killed at any place, the same settings go on from the last commit and give the same bytes. A commit comes every few
seconds: first what was seen (SQLite), then the shards with the place in the sources
(`freehold.training.data.writing`).
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from freehold.errors import ConfigError
from freehold.training.data.card import Card, write_card
from freehold.training.data.counting import counted
from freehold.training.data.duplicates import Seen, normalised
from freehold.training.data.records import MANIFEST, TRAINING, VALIDATION, file_sha256
from freehold.training.data.settings import DataSettings, SourceFile
from freehold.training.data.shards import TOKEN_BYTES, TOKENIZER, TOKENS, TokenShards, token_field
from freehold.training.data.sources import Broken, Described, Document, Reader, describe, unchanged
from freehold.training.data.tokenizer import TextTokenizer
from freehold.training.data.writing import RecordWriter, replace_file, writable

SEEN: Final = "seen.db"
BATCH_CHARACTERS: Final = 1 << 22
BATCH_DOCUMENTS: Final = 4096
COMMIT_S: Final = 5.0
REMEMBERED_BROKEN: Final = 100
"""Broken lines that the data card names; all are counted."""


@dataclass(slots=True)
class Progress:
    """How far it is, as a commit keeps it.

    Args:
        source: the file that is read, by its number.
        place: of its last document that was done.
        characters: of that file that were done.
        documents: that were done in all; the number of the next.
        empty: documents without text.
        broken: lines and rows that were skipped.
        exact: documents that were left out because the same was there.
        near: likewise because a similar one was.
        held_out: likewise because it is held out for tests.
        not_compared: parts of texts that are too long for it.
        read_bytes: of all documents as UTF-8.
        kept: documents of each split.
        kept_bytes: their length.
        named_broken: the first of the broken ones, for the card.
        seconds: that it took.
    """

    source: int = 0
    place: int = 0
    characters: int = 0
    documents: int = 0
    empty: int = 0
    broken: int = 0
    exact: int = 0
    near: int = 0
    held_out: int = 0
    not_compared: int = 0
    read_bytes: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    kept_bytes: dict[str, int] = field(default_factory=dict)
    named_broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text on its way into a split."""

    split: str
    text: str
    special: bool
    ends: bool


class Preparation:
    """One preparation of data.

    Args:
        settings: from what, and how.
        folder: for the shards.
        say: is told how far it is.
        commit_s: seconds between commits.
        batch: documents that go through each step at once, at most.

    Raises:
        ConfigError: a file or the tokenizer cannot be read.
    """

    def __init__(
        self,
        settings: DataSettings,
        folder: Path,
        say: Callable[[str], None],
        *,
        commit_s: float = COMMIT_S,
        batch: int = BATCH_DOCUMENTS,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._say = say
        self._commit_s = commit_s
        self._batch = batch
        self._tokenizer = TextTokenizer.open(settings.tokenizer)
        self._reader = Reader(settings.reading, self._tokenizer.rendered)
        self._described: list[Described] = []
        self._held: list[Described] = []
        self._progress = Progress()
        self._began_s = time.monotonic()

    def run(self) -> TokenShards:
        """Prepare, or go on with it; the shards.

        Raises:
            ConfigError: something in the files is broken, the folder has other data, or the disk is full.
        """
        self._describe()
        purpose = self._purpose()
        if (self._folder / MANIFEST).exists():
            return self._finished(purpose)
        fields = [token_field(self._tokenizer.vocabulary)]
        with RecordWriter(
            self._folder, fields, purpose=purpose, records_per_shard=self._settings.shard_tokens
        ) as writer:
            if writer.state is not None:
                self._progress = Progress(**writer.state)
                self._say(f"going on behind document {self._progress.documents:,}")
            self._began_s = time.monotonic() - self._progress.seconds
            with (
                writable(self._folder),
                Seen(self._folder / SEEN, self._settings.duplicates, self._progress.documents) as seen,
            ):
                if not self._progress.documents:
                    self._see_held_out(seen)
                self._write(writer, seen)
                return self._finish(writer, seen, purpose)

    def _describe(self) -> None:
        """Read every file for its digest."""
        self._say(f"taking the digests of {counted(len(self._settings.sources), 'file')}")
        at_end = self._settings.at_end
        self._described = [
            describe(each, characters=at_end and not each.learnt_whole) for each in self._settings.sources
        ]
        self._held = [describe(each) for each in self._settings.held_out]

    def _purpose(self) -> dict[str, Any]:
        """What decides the outcome: equal for the same content, wherever it lies."""

        def named(sources: tuple[SourceFile, ...], described: list[Described]) -> list[dict[str, Any]]:
            return [
                {
                    "kind": source.kind,
                    "name": source.path.name,
                    "sha256": found.sha256,
                    **({"learnt_whole": True} if source.learnt_whole else {}),
                }
                for source, found in zip(sources, described, strict=True)
            ]

        return {
            "sources": named(self._settings.sources, self._described),
            "held_out": named(self._settings.held_out, self._held),
            "tokenizer_sha256": self._tokenizer.sha256,
            "settings": self._settings.deciding(),
        }

    def _finished(self, purpose: dict[str, Any]) -> TokenShards:
        shards = TokenShards.open(self._folder)
        if shards.records.facts.get("made_from") != _digest(purpose):
            raise ConfigError(
                f"{self._folder} has other data, or the same with other settings; choose another folder, or delete it"
            )
        self._tidy()
        self._say(f"{self._folder} has these data already")
        return shards

    def _see_held_out(self, seen: Seen) -> None:
        """Remember what is held out for tests, under numbers below 0."""
        number = 0
        for source in self._settings.held_out:
            for document in self._reader.documents(source):
                if isinstance(document, Document) and document.text.strip():
                    number -= 1
                    seen.judge(number, document.text, source.path.name, document.place)
        if number:
            self._say(f"{-number:,} documents are held out")

    def _write(self, writer: RecordWriter, seen: Seen) -> None:
        """Everything from the last commit to the end of the last file."""
        committed_s = time.monotonic()
        for batch in self._batches():
            pieces = [piece for source, item in batch for piece in self._pieces(source, item, seen)]
            for split, tokens in self._tokens(pieces).items():
                writer.append(split, {TOKENS: tokens})
            if time.monotonic() - committed_s >= self._commit_s:
                self._commit(writer, seen)
                committed_s = time.monotonic()
                self._tell(writer)

    def _commit(self, writer: RecordWriter, seen: Seen) -> None:
        self._progress.seconds = time.monotonic() - self._began_s
        seen.commit()
        writer.commit(asdict(self._progress))

    def _tell(self, writer: RecordWriter) -> None:
        done, tokens = self._progress, writer.records(TRAINING) + writer.records(VALIDATION)
        self._say(
            f"file {done.source + 1} of {len(self._described)} · {done.documents:,} documents · {tokens:,} tokens"
            f" · {done.read_bytes / 1e6 / max(done.seconds, 1e-3):.1f} MB/s"
        )

    def _batches(self) -> Iterator[list[tuple[int, Document | Broken]]]:
        """What is left of the sources, in batches with the number of the file."""
        held: list[tuple[int, Document | Broken]] = []
        characters = 0
        for item in self._items():
            held.append(item)
            characters += len(item[1].text) if isinstance(item[1], Document) else 0
            if characters >= BATCH_CHARACTERS or len(held) >= self._batch:
                yield held
                held, characters = [], 0
        if held:
            yield held

    def _items(self) -> Iterator[tuple[int, Document | Broken]]:
        for number in range(self._progress.source, len(self._described)):
            source, found = self._settings.sources[number], self._described[number]
            after = self._progress.place if number == self._progress.source else 0
            for item in self._reader.documents(source, after):
                yield number, item
            if not unchanged(source, found):
                raise ConfigError(f"{source.path} has changed while it was read; delete {self._folder} and begin anew")

    def _pieces(self, source: int, item: Document | Broken, seen: Seen) -> Iterator[_Piece]:
        """What of a document goes into which split; keeps the books of it."""
        done = self._progress
        if source != done.source:
            done.source, done.characters = source, 0
        done.place = item.place
        if isinstance(item, Broken):
            done.broken += 1
            if len(done.named_broken) < REMEMBERED_BROKEN:
                done.named_broken.append(f"{self._settings.sources[source].path.name}, {item.place}: {item.why}")
            return
        number, done.documents = done.documents, done.documents + 1
        done.read_bytes += len(item.text.encode())
        begins, done.characters = done.characters, done.characters + len(item.text)
        if not item.text.strip():
            done.empty += 1
        elif self._fresh(number, source, item, seen):
            for piece in self._placed(source, item, begins):
                done.kept[piece.split] = done.kept.get(piece.split, 0) + 1
                done.kept_bytes[piece.split] = done.kept_bytes.get(piece.split, 0) + len(piece.text.encode())
                yield piece

    def _fresh(self, number: int, source: int, document: Document, seen: Seen) -> bool:
        """Whether a document was not there before."""
        remember = self._settings.duplicates.kind != "none"
        if not remember and not self._settings.held_out:
            return True
        if document.part:
            self._progress.not_compared += 1
            return True
        name = self._settings.sources[source].path.name
        twin = seen.judge(number, document.text, name, document.place, remember=remember)
        if twin is None:
            return True
        if twin.document < 0:
            self._progress.held_out += 1
        elif twin.kind == "exact":
            self._progress.exact += 1
        else:
            self._progress.near += 1
        return False

    def _placed(self, source: int, document: Document, begins: int) -> Iterator[_Piece]:
        """A document in its split; where the end of a text is for validation, its parts before and behind the cut."""
        share = self._settings.validation_share
        if self._settings.sources[source].learnt_whole:
            yield _Piece(TRAINING, document.text, document.special, document.ends)
            return
        if not self._settings.at_end:
            word = self._described[source].sha256 if document.part else normalised(document.text)
            first = int.from_bytes(hashlib.sha256(b"split\0" + word.encode()).digest()[:8])
            split = VALIDATION if first < share * 2**64 else TRAINING
            yield _Piece(split, document.text, document.special, document.ends)
            return
        characters = self._described[source].characters
        assert characters is not None
        several = len(self._described) > 1
        cut = min(max(int(characters * (1 - share)) - begins, 0), len(document.text))
        if cut:
            at_cut = cut < len(document.text) or begins + cut == int(characters * (1 - share))
            yield _Piece(TRAINING, document.text[:cut], document.special, several and at_cut)
        if cut < len(document.text):
            yield _Piece(VALIDATION, document.text[cut:], document.special, several and document.ends)

    def _tokens(self, pieces: list[_Piece]) -> dict[str, NDArray[np.uint32]]:
        """The tokens of pieces, one after another in each split."""
        cut: dict[int, NDArray[np.uint32]] = {}
        for special in (False, True):
            numbers = [number for number, piece in enumerate(pieces) if piece.special is special]
            found = self._tokenizer.encode([pieces[number].text for number in numbers], special=special)
            cut.update(zip(numbers, found, strict=True))
        end = np.array([self._tokenizer.end], np.uint32)
        parts: dict[str, list[NDArray[np.uint32]]] = {}
        for number, piece in enumerate(pieces):
            parts.setdefault(piece.split, []).extend([cut[number], end] if piece.ends else [cut[number]])
        return {split: np.concatenate(found) for split, found in sorted(parts.items())}

    def _finish(self, writer: RecordWriter, seen: Seen, purpose: dict[str, Any]) -> TokenShards:
        """Write what lies beside the shards and, last, their manifest."""
        self._commit(writer, seen)
        done = self._progress
        if not writer.records(TRAINING):
            raise ConfigError("nothing is left to train with: the files have no text, or all of it was left out")
        for file in self._tokenizer.files():
            (self._folder / TOKENIZER).mkdir(exist_ok=True)
            replace_file(self._folder / TOKENIZER / file.name, file.read_bytes())
        replace_file(self._folder / TOKEN_BYTES, self._tokenizer.token_bytes().astype("<i4").tobytes())
        facts = {
            "vocabulary": self._tokenizer.vocabulary,
            "end": self._tokenizer.end,
            "tokenizer_sha256": self._tokenizer.sha256,
            "token_bytes_sha256": file_sha256(self._folder / TOKEN_BYTES),
            "documents": done.kept,
            "bytes": done.kept_bytes,
            "made_from": _digest(purpose),
        }
        tokens = {split: writer.records(split) for split in (TRAINING, VALIDATION)}

        def card(sha256: str) -> None:
            made = Card(self._settings, purpose, self._described, asdict(done), tokens, facts, sha256)
            write_card(self._folder, made, seen.dropped())

        writer.finish(facts, before=card)
        self._tidy()
        return TokenShards.open(self._folder)

    def _tidy(self) -> None:
        """Remove what was only needed to go on."""
        for name in (SEEN, f"{SEEN}-journal"):
            with suppress(FileNotFoundError):
                (self._folder / name).unlink()


def _digest(purpose: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(purpose, sort_keys=True).encode()).hexdigest()
