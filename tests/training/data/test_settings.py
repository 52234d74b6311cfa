"""Which files are meant, and which settings go together."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from freehold.errors import ConfigError
from freehold.training.data.settings import DataSettings, ReadingSettings, SourceFile, kind_of, source_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.md", "deep/c.txt.gz", "d.jsonl", "e.parquet", "f.jsonl.zst", "g.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def names(files: list[SourceFile]) -> list[str]:
    """Of files."""
    return [file.path.name for file in files]


def test_files_of_a_folder_are_found_by_their_names(folder: Path) -> None:
    """A folder gives its files of the kind, at any depth, sorted; a pattern those that match; a file itself."""
    assert names(source_files("text", [folder])) == ["a.md", "b.txt", "c.txt.gz"]
    assert names(source_files("jsonl", [folder])) == ["d.jsonl", "f.jsonl.zst"]
    assert names(source_files("parquet", [folder])) == ["e.parquet"]
    assert names(source_files("text", [folder / "*.txt", folder / "g.csv"])) == ["b.txt", "g.csv"]
    assert names(source_files("text", [folder / "**" / "*.gz"])) == ["c.txt.gz"]


@pytest.mark.parametrize("name", ["none.txt", "*.none", "deep/x", "[a"])
def test_a_path_without_files_is_told(folder: Path, name: str) -> None:
    """What names no file is an error with its name, instead of nothing."""
    with pytest.raises(ConfigError, match="names no file of text"):
        source_files("text", [folder / name])


def test_a_kind_is_told_by_the_name() -> None:
    """Files of tests are given without their kind."""
    assert [kind_of(Path(name)) for name in ("a.TXT", "a.jsonl.gz", "a.parquet")] == ["text", "jsonl", "parquet"]
    with pytest.raises(ConfigError, match="is told by its name"):
        kind_of(Path("a.csv"))


def settings(count: int, **more: object) -> DataSettings:
    """Settings for so many texts."""
    sources = tuple(SourceFile(kind="text", path=Path(f"{number}.txt")) for number in range(count))
    return DataSettings(sources=sources, tokenizer=Path("tokenizer"), **more)  # type: ignore[arg-type]


def test_a_single_text_is_cut_at_its_end() -> None:
    """By itself, a single whole text gives its end for validation, and several give documents."""
    assert settings(1).at_end
    assert not settings(2).at_end
    assert settings(2, split="end").at_end
    assert not settings(1, split="documents").at_end
    assert not settings(1, reading=ReadingSettings(documents="lines")).at_end
    with pytest.raises(ValidationError, match="only where each file is one document"):
        settings(1, split="end", reading=ReadingSettings(separator="---"))


def test_where_files_lie_decides_nothing() -> None:
    """Paths and licences are no part of what decides the outcome."""
    first, second = settings(1, licences=("MIT",)), settings(1, validation_share=0.2)
    assert "sources" not in first.deciding()
    assert first.deciding() == settings(1).deciding()
    assert first.deciding() != second.deciding()
