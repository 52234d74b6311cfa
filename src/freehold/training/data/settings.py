"""What data a training gets, in settings. No library that reads data is needed, so the command line checks them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from freehold.errors import ConfigError
from freehold.types.base import SettingsModel

Kind = Literal["text", "jsonl", "parquet"]

SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "text": (".txt", ".text", ".md"),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet",),
}
"""What is taken from a folder that is given for files of a kind; those of texts and JSONL may be compressed."""
COMPRESSED: Final = (".gz", ".zst")
LEAST: Final = 260
"""Tokens of a tokenizer at least: the bytes and the special ones."""


class SourceFile(SettingsModel):
    """One file of documents."""

    kind: Kind
    path: Path
    learnt_whole: bool = False
    """Whether nothing of it is held back for validation."""


class ReadingSettings(SettingsModel):
    """How documents are read from files."""

    documents: Literal["whole", "paragraphs", "lines"] = "whole"
    """What a document of a text file is: the file, what lies between blank lines, or a line."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """Instead: what lies between two of these."""
    fields: tuple[str, ...] = ()
    """Fields or columns that make a document, joined by line ends; without, `text`. What has none of them is
    a conversation, if it has `messages`."""
    skip_broken: bool = False
    """Whether lines and rows that cannot be read are counted and left out instead of ending it."""


class DuplicateSettings(SettingsModel):
    """What counts as the same document twice; the first one stays."""

    kind: Literal["none", "exact", "near"] = "exact"
    """ "exact": equal but for case, spaces and forms of characters; "near": moreover, similar."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of common runs of words from which documents are similar."""
    permutations: Annotated[int, Field(ge=16, le=1024)] = 128
    """Numbers that a document is remembered by; the estimated share errs by 1 / sqrt of it."""
    words: Annotated[int, Field(ge=1, le=64)] = 5
    """Length of a run."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1


class DataSettings(SettingsModel):
    """What becomes of files: token shards in two splits."""

    sources: Annotated[tuple[SourceFile, ...], Field(min_length=1)]
    held_out: tuple[SourceFile, ...] = ()
    """What the model will be tested with: documents that are the same as one in there are left out."""
    reading: ReadingSettings = ReadingSettings()
    tokenizer: Path
    duplicates: DuplicateSettings = DuplicateSettings()
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    split: Literal["auto", "documents", "end"] = "auto"
    """ "documents": each document goes to one side, by its digest; "end": the end of each text is for validation;
    "auto": the end where there is only one text, else documents."""
    shard_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens in a file; without it, as many as make 256 MiB."""
    licences: tuple[str, ...] = ()
    """For the data card: a licence for all files, or `NAME=LICENCE` for the files of a name."""

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        whole = self.reading.documents == "whole" and self.reading.separator is None
        if not self._split_sources:
            raise ValueError("give files with --text, --jsonl or --parquet, of which a part is held back")
        if self.split == "end" and not (whole and all(source.kind == "text" for source in self._split_sources)):
            raise ValueError("the end of each text can be split off only where each file is one document")
        return self

    @property
    def at_end(self) -> bool:
        """Whether validation is the end of each text."""
        whole = self.reading.documents == "whole" and self.reading.separator is None
        split = self._split_sources
        single = len(split) == 1 and split[0].kind == "text" and whole
        return self.split == "end" or (self.split == "auto" and single)

    @property
    def _split_sources(self) -> tuple[SourceFile, ...]:
        """Those of which something is held back."""
        return tuple(source for source in self.sources if not source.learnt_whole)

    def deciding(self) -> dict[str, Any]:
        """What decides the outcome, besides the files' content: equal for equal data."""
        tree = self.model_dump(mode="json", exclude={"sources", "held_out", "tokenizer", "licences", "split"})
        return {**tree, "at_end": self.at_end}


class TokenizerSettings(SettingsModel):
    """What decides a tokenizer, besides the text."""

    vocabulary: Annotated[int, Field(ge=LEAST, le=1 << 20)] = 32_768
    """Tokens, the bytes and special ones among them; fewer if the text has no more pairs."""
    cut: Literal["gpt-2", "smollm", "llama-bpe", "qwen2"] = "gpt-2"
    """How texts are cut before bytes are joined; "smollm" keeps digits apart."""
    longest: Annotated[int, Field(ge=1)] = 32
    """Bytes of a token at most."""


class TokenizerOrder(SettingsModel):
    """From which files which tokenizer is made."""

    sources: Annotated[tuple[SourceFile, ...], Field(min_length=1)]
    reading: ReadingSettings = ReadingSettings()
    settings: TokenizerSettings = TokenizerSettings()
    most_bytes: Annotated[int, Field(ge=1)] = 2_000_000_000
    """Of the texts so much is read; the frequent pairs do not change any more."""


def source_files(kind: Kind, given: Sequence[Path]) -> list[SourceFile]:
    """The files of a kind that paths, folders and patterns name: in their order, those of each by name.

    Raises:
        ConfigError: something names no file.
    """
    found: list[SourceFile] = []
    for path in given:
        paths = [path] if path.is_file() else _in_folder(kind, path) if path.is_dir() else _matching(path)
        if not paths:
            raise ConfigError(f"{path} names no file of {'text' if kind == 'text' else kind.upper()}")
        found += [SourceFile(kind=kind, path=each.resolve()) for each in paths]
    return found


def _in_folder(kind: Kind, folder: Path) -> list[Path]:
    endings = tuple(
        suffix + more for suffix in SUFFIXES[kind] for more in ("", *(() if kind == "parquet" else COMPRESSED))
    )
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name.lower().endswith(endings))


def _matching(pattern: Path) -> list[Path]:
    root = Path(pattern.anchor or ".")
    try:
        return sorted(path for path in root.glob(str(pattern.relative_to(pattern.anchor))) if path.is_file())
    except (ValueError, NotImplementedError):
        return []


def kind_of(path: Path) -> Kind:
    """The kind of a file that is given without one, by its name.

    Raises:
        ConfigError: its name does not tell.
    """
    name = path.name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    kinds: tuple[Kind, ...] = ("text", "jsonl", "parquet")
    for kind in kinds:
        if name.endswith(SUFFIXES[kind]):
            return kind
    raise ConfigError(f"{path}: whether it is text, JSONL or Parquet is told by its name; it has none of these endings")
