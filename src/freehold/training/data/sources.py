"""Documents from files of text, JSONL and Parquet, one after another, in memory that does not grow with the files.

What is wrong is told with the file and the line, row or byte. Each document has a place, which only grows within its
file, so reading can go on behind any of them.
"""

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson
import pyarrow as pa
from pyarrow import parquet

from freehold.errors import ConfigError
from freehold.training.data.settings import ReadingSettings, SourceFile
from freehold.training.data.tokenizer import border

LONG: Final = 1 << 22
"""Characters of a document at most; a longer text comes in parts of about so many."""
LONGEST_LINE_BYTES: Final = 1 << 26
_CHUNK_BYTES: Final = 1 << 20
_ROWS: Final = 1024

Render = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Document:
    """A text.

    Args:
        text: it.
        place: where it stands in its file: line, row, or number of the paragraph or part, counted from 1.
        special: whether special tokens in it are these, since it was rendered as a conversation.
        part: whether it is only a part of a text that is too long to be a document.
        ends: whether it is the end of its text.
    """

    text: str
    place: int
    special: bool = False
    part: bool = False
    ends: bool = True


@dataclass(frozen=True, slots=True)
class Broken:
    """A line or row that is no document."""

    place: int
    why: str


class Reader:
    """Reads documents.

    Args:
        settings: what documents are.
        render: makes a text of a conversation; ValueError if it cannot be.
    """

    def __init__(self, settings: ReadingSettings, render: Render) -> None:
        self._settings = settings
        self._render = render

    def documents(self, source: SourceFile, after: int = 0) -> Iterator[Document | Broken]:
        """The documents of a file behind a place. Empty ones are given too; what is broken only where it is skipped.

        Raises:
            ConfigError: the file cannot be read, or something in it is broken; says where.
        """
        read = {"text": self._texts, "jsonl": self._lines, "parquet": self._rows}[source.kind]
        with readable(source.path):
            yield from read(source.path, after)

    def _texts(self, path: Path, after: int) -> Iterator[Document]:
        whole = self._settings.documents == "whole" and self._settings.separator is None
        if whole:
            yield from (each for each in _parts(path) if each.place > after)
            return
        for place, text in enumerate(self._stretches(path), start=1):
            if place > after:
                yield Document(text, place)

    def _stretches(self, path: Path) -> Iterator[str]:
        """What lies between separators, without what is empty."""
        if self._settings.separator is not None:
            yield from filter(str.strip, _split(path, self._settings.separator))
            return
        held: list[str] = []
        for line in _split(path, "\n"):
            if line.strip() and self._settings.documents == "paragraphs":
                held.append(line)
            elif line.strip():
                yield line
            elif held:
                yield "\n".join(held)
                held.clear()
        if held:
            yield "\n".join(held)

    def _lines(self, path: Path, after: int) -> Iterator[Document | Broken]:
        with open_file(path) as file:
            place = 0
            while raw := file.readline(LONGEST_LINE_BYTES + 1):
                place += 1
                if len(raw) > LONGEST_LINE_BYTES:
                    raise ConfigError(f"{path.name}, line {place}: is longer than {LONGEST_LINE_BYTES >> 20} MiB")
                if place <= after or not raw.strip():
                    continue
                try:
                    row = orjson.loads(raw)
                except orjson.JSONDecodeError as exc:
                    yield self._broken(path, "line", place, f"is not valid JSON: {exc.msg}")
                    continue
                yield self._document(path, "line", place, row)

    def _rows(self, path: Path, after: int) -> Iterator[Document | Broken]:
        with parquet.ParquetFile(path) as file:
            columns = self._columns(path, file.schema_arrow.names)
            place = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if place + rows <= after:
                    place += rows
                    continue
                for batch in file.iter_batches(_ROWS, row_groups=[group], columns=columns):
                    for row in batch.to_pylist():
                        place += 1
                        if place > after:
                            yield self._document(path, "row", place, row)

    def _columns(self, path: Path, names: Sequence[str]) -> list[str]:
        wanted = list(self._settings.fields or ("text",))
        if "messages" in names and not any(each in names for each in wanted):
            return ["messages"]
        if missing := [each for each in wanted if each not in names]:
            raise ConfigError(f"{path.name} has no column '{missing[0]}'; --field names one of: {', '.join(names)}")
        return wanted

    def _document(self, path: Path, unit: str, place: int, row: Any) -> Document | Broken:
        """A row as a document: its fields, or its conversation."""
        if not isinstance(row, dict):
            return self._broken(path, unit, place, "must be a JSON object")
        fields = self._settings.fields or ("text",)
        if "messages" in row and not any(name in row for name in fields):
            try:
                return Document(self._render(row), place, special=True)
            except (ValueError, TypeError, KeyError, AttributeError) as exc:
                return self._broken(path, unit, place, f"its messages are no conversation: {exc}")
        texts = []
        for name in fields:
            if name not in row:
                return self._broken(
                    path, unit, place, f"has no '{name}'; --field names one of: {', '.join(map(str, row))}"
                )
            value = "" if row[name] is None else row[name]
            if not isinstance(value, str):
                return self._broken(path, unit, place, f"'{name}' must be a text")
            texts.append(value)
        return Document("\n".join(texts), place)

    def _broken(self, path: Path, unit: str, place: int, why: str) -> Broken:
        """What is broken, if that may be.

        Raises:
            ConfigError: it may not.
        """
        if self._settings.skip_broken:
            return Broken(place, why)
        raise ConfigError(f"{path.name}, {unit} {place}: {why} (--skip-broken leaves such {unit}s out)")


@dataclass(frozen=True, slots=True)
class Described:
    """A file as it was found.

    Args:
        bytes: its length on disk.
        sha256: its digest.
        modified_ns: when it was changed last.
        characters: of a text, where they were counted.
    """

    bytes: int
    sha256: str
    modified_ns: int
    characters: int | None = None


def describe(source: SourceFile, *, characters: bool = False) -> Described:
    """Read a file once for its digest and, if wanted, for its length in characters.

    Raises:
        ConfigError: it cannot be read.
    """
    with readable(source.path):
        status = source.path.stat()
        with source.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        count = sum(map(len, _decoded(source.path))) if characters else None
    return Described(status.st_size, digest, status.st_mtime_ns, count)


def unchanged(source: SourceFile, described: Described) -> bool:
    """Whether a file is, by length and time, still the one that was described."""
    with readable(source.path):
        status = source.path.stat()
    return (status.st_size, status.st_mtime_ns) == (described.bytes, described.modified_ns)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What cannot be read becomes an error with the file's name.

    Raises:
        ConfigError: it is not there, not whole, or not of its kind.
    """
    try:
        yield
    except EOFError as exc:
        raise ConfigError(f"{path.name} ends too early: it was not written or copied to its end") from exc
    except (gzip.BadGzipFile, zlib.error) as exc:
        raise ConfigError(f"{path.name} is not what gzip wrote: {exc}") from exc
    except pa.ArrowException as exc:
        raise ConfigError(f"{path.name} cannot be read: {str(exc).splitlines()[0]}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path.name} has a text that is not UTF-8: {exc.reason} in {exc.object[:40]!r}") from exc
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror or exc}") from exc


def open_file(path: Path) -> BinaryIO:
    """The content of a file, decompressed if its name says that it is compressed.

    Raises:
        OSError, pa.ArrowException: it cannot be opened.
    """
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]  # it is one
    if path.name.lower().endswith(".zst"):
        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"), _CHUNK_BYTES)
    return path.open("rb")


def plain(example: Mapping[str, Any]) -> str:
    """What is said in a conversation, without a template: for tokenizers, which come before any template."""
    said = (message.get("content") for message in example["messages"])
    return "\n".join(text for text in said if isinstance(text, str))


def _decoded(path: Path) -> Iterator[str]:
    """A text in chunks; a byte order mark is left out."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done, first = 0, True
    with open_file(path) as file:
        while True:
            raw = file.read(_CHUNK_BYTES)
            held = len(decoder.getstate()[0])
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as exc:
                raise ConfigError(
                    f"{path.name} is not UTF-8 (at byte {done - held + exc.start + 1}); convert it first"
                ) from exc
            done += len(raw)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            if text:
                yield text
            if not raw:
                return


def _parts(path: Path) -> Iterator[Document]:
    """A text as one document or, where it is too long for one, in parts."""
    held, place = "", 0
    for text in _decoded(path):
        held += text
        while len(held) > LONG:
            place += 1
            end = border(held, LONG // 2, LONG)
            yield Document(held[:end], place, part=True, ends=False)
            held = held[end:]
    yield Document(held, place + 1, part=place > 0)


def _split(path: Path, separator: str) -> Iterator[str]:
    """What lies between separators."""
    held = ""
    for text in _decoded(path):
        *whole, held = (held + text).split(separator)
        yield from whole
        if len(held) > LONG:
            raise ConfigError(f"{path.name} has no {separator!r} within {LONG:,} characters; give the file as a whole")
    yield held
