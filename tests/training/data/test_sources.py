"""Documents from files: what comes of each kind, and what is said of files that are broken."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from freehold.errors import ConfigError
from freehold.training.data.settings import Kind, ReadingSettings, SourceFile
from freehold.training.data.sources import LONG, Broken, Document, Reader, describe, unchanged
from tests.training.data.texts import play

pytestmark = pytest.mark.torch


def render(example: Mapping[str, Any]) -> str:
    """A conversation as a text."""
    return "|".join(message["content"] for message in example["messages"])


def read(path: Path, kind: Kind, after: int = 0, **more: Any) -> list[Document | Broken]:
    """All that a file has."""
    source = SourceFile(kind=kind, path=path)
    return list(Reader(ReadingSettings(**more), render).documents(source, after))


def texts(path: Path, kind: Kind, **more: Any) -> list[str]:
    """The texts of all documents of a file."""
    return [each.text for each in read(path, kind, **more) if isinstance(each, Document)]


def table(path: Path, columns: dict[str, list[Any]], rows: int = 3) -> Path:
    """A Parquet file with row groups of some rows."""
    parquet.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def lines(path: Path, *rows: Any) -> Path:
    """A JSONL file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
def test_a_text_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    """A text is one document, character for character, compressed or not; only a byte order mark is left out."""
    text = "\ufeffEin Text\r\n\n mit \ufeff allem: 日本 \x00\n"
    raw = text.encode()
    packed = {"gz": gzip.compress, "zst": lambda it: pa.compress(it, "zstd", asbytes=True)}.get(name[-3:].lstrip("."))
    (tmp_path / name).write_bytes(packed(raw) if packed else raw)
    assert texts(tmp_path / name, "text") == [text[1:]]


def test_paragraphs_and_lines_are_documents(tmp_path: Path) -> None:
    """A text falls into what lies between blank lines, into lines, or into what lies between separators."""
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\n \n\nthree\n---\nfour")
    assert texts(path, "text", documents="paragraphs") == ["one\ntwo", "three\n---\nfour"]
    assert texts(path, "text", documents="lines") == ["one", "two", "three", "---", "four"]
    assert texts(path, "text", separator="---\n") == ["one\ntwo\n\n \n\nthree\n", "four"]


def test_a_long_text_comes_in_parts(tmp_path: Path) -> None:
    """A text that is too long to be held comes in parts that make it, and only the last one ends it."""
    text = play(LONG // 8) * 20
    (tmp_path / "a.txt").write_text(text)
    found = read(tmp_path / "a.txt", "text")
    assert all(isinstance(each, Document) and each.part and len(each.text) <= LONG for each in found)
    assert "".join(each.text for each in found if isinstance(each, Document)) == text
    assert [isinstance(each, Document) and each.ends for each in found] == [False] * (len(found) - 1) + [True]
    assert read(tmp_path / "a.txt", "text", after=2) == found[2:]


def test_fields_of_lines_are_documents(tmp_path: Path) -> None:
    """The field `text` is the document, or those that are named, or a conversation as it is rendered."""
    talk = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
    path = lines(tmp_path / "a.jsonl", {"text": "a", "b": "c"}, {"text": "d", "b": "e"}, {**talk})
    assert read(path, "jsonl") == [Document("a", 1), Document("d", 2), Document("hi|ho", 3, special=True)]
    path = lines(tmp_path / "b.jsonl", {"q": "1 + 1?", "a": "2"}, {"q": "2 + 2?", "a": None})
    assert texts(path, "jsonl", fields=("q", "a")) == ["1 + 1?\n2", "2 + 2?\n"]
    path = lines(tmp_path / "c.jsonl", {"q": "1 + 1?"}, talk)
    assert texts(path, "jsonl", fields=("q",)) == ["1 + 1?", "hi|ho"]


def test_columns_of_tables_are_documents(tmp_path: Path) -> None:
    """The column `text` is the document, or those that are named, or a conversation."""
    path = table(tmp_path / "a.parquet", {"text": list("abcdefgh"), "n": list(range(8))})
    assert texts(path, "parquet") == list("abcdefgh")
    talks = [[{"role": "user", "content": each}] for each in "xy"]
    assert texts(table(tmp_path / "b.parquet", {"messages": talks}), "parquet") == ["x", "y"]
    assert texts(tmp_path / "b.parquet", "parquet", fields=("q",)) == ["x", "y"]
    path = table(tmp_path / "c.parquet", {"q": ["1", "2"], "a": ["x", None]})
    assert texts(path, "parquet", fields=("q", "a")) == ["1\nx", "2\n"]


@given(after=st.integers(0, 12))
@settings(max_examples=13, deadline=None)
def test_reading_goes_on_behind_any_place(tmp_path_factory: pytest.TempPathFactory, after: int) -> None:
    """What is read behind a place is what would have come behind it."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "a.txt").write_text("\n\n".join("abcdefghijk"))
    files: list[tuple[Path, Kind, dict[str, Any]]] = [
        (folder / "a.txt", "text", {"documents": "paragraphs"}),
        (lines(folder / "b.jsonl", *({"text": each} for each in "abcdefghijk")), "jsonl", {}),
        (table(folder / "c.parquet", {"text": list("abcdefghijk")}, rows=4), "parquet", {}),
    ]
    for path, kind, more in files:
        assert read(path, kind, after, **more) == read(path, kind, **more)[after:]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{"text": \n', "a.jsonl, line 3: is not valid JSON"),
        ("a.jsonl", b'{"text": "a"}\n["b"]\n', "a.jsonl, line 2: must be a JSON object"),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"body": "b", "id": 1}\n',
            "a.jsonl, line 2: has no 'text'; --field names one of: body, id",
        ),
        ("a.jsonl", b'{"text": 3}\n', "a.jsonl, line 1: 'text' must be a text"),
        ("a.jsonl", b'{"text": "\xff"}\n', "a.jsonl, line 1: is not valid JSON"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "a.jsonl, line 1: is not valid JSON"),
        ("a.jsonl", b'{"messages": [{"role": "user"}]}\n', "a.jsonl, line 1: its messages are no conversation"),
        ("a.txt", b"a" * 1_500_000 + b"\xffb", "a.txt is not UTF-8 .at byte 1500001"),
        ("a.txt", b"abc\xe2\x82", "a.txt is not UTF-8 .at byte 4"),
        ("a.txt.gz", b"no gzip", "a.txt.gz is not what gzip wrote"),
        ("a.txt.gz", gzip.compress(b"a text" * 99, mtime=0)[:-9], "a.txt.gz ends too early"),
        ("a.txt.zst", b"no zstd", "a.txt.zst cannot be read"),
        ("a.parquet", b"no table", "a.parquet cannot be read"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """A broken file is told by its name and by the line, row or byte."""
    kind: Kind = "jsonl" if "jsonl" in name else "parquet" if "parquet" in name else "text"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read(tmp_path / name, kind)


def test_a_broken_table_is_named(tmp_path: Path) -> None:
    """A table that lacks the column, has other values or is damaged inside is told by its name."""
    path = table(tmp_path / "a.parquet", {"body": ["a"], "n": [1]})
    with pytest.raises(ConfigError, match=r"a\.parquet has no column 'text'; --field names one of: body, n"):
        read(path, "parquet")
    with pytest.raises(ConfigError, match=r"a\.parquet, row 1: 'n' must be a text"):
        read(path, "parquet", fields=("n",))
    path = table(tmp_path / "b.parquet", {"text": [play(5000, seed) for seed in range(20)]}, rows=5)
    raw = bytearray(path.read_bytes())
    raw[200:6000] = bytes(5800)
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"b\.parquet cannot be read"):
        read(path, "parquet")


def test_a_table_of_bytes_that_are_no_text_is_named(tmp_path: Path) -> None:
    """A column of texts that holds other bytes is told by the table's name."""
    wrong = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    parquet.write_table(pa.table({"text": wrong}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"a\.parquet has a text that is not UTF-8"):
        read(tmp_path / "a.parquet", "parquet")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is told by its path."""
    with pytest.raises(ConfigError, match=r"none\.txt cannot be read: No such file"):
        read(tmp_path / "none.txt", "text")


def test_broken_lines_can_be_skipped(tmp_path: Path) -> None:
    """Where it is asked for, broken lines are told and the others are read."""
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{\n{"text": 1}\n{"text": "b"}\n')
    found = read(tmp_path / "a.jsonl", "jsonl", skip_broken=True)
    assert [type(each) for each in found] == [Document, Broken, Broken, Document]
    assert [each.place for each in found] == [1, 2, 3, 4]


def test_a_file_is_described(tmp_path: Path) -> None:
    """Digest, length and number of characters are the file's, and a change is seen."""
    path = tmp_path / "a.txt"
    path.write_text("héllo\n")
    source = SourceFile(kind="text", path=path)
    found = describe(source, characters=True)
    assert (found.bytes, found.characters) == (7, 6)
    assert unchanged(source, found)
    path.write_text("hello!\n")
    assert not unchanged(source, describe(source)) or describe(source).sha256 != found.sha256
