"""`freehold train data`: make token shards of files of text, JSONL and Parquet."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from freehold.cli.output import print_note, say
from freehold.errors import ConfigError
from freehold.training.data.settings import (
    DataSettings,
    DuplicateSettings,
    ReadingSettings,
    SourceFile,
    kind_of,
    source_files,
)
from freehold.training.process import run_module

DATA_EXAMPLE = "Example: freehold train data --jsonl corpus.jsonl --tokenizer tokenizer --out data"
WORKER = "freehold.training.data.worker"

TextOption = Annotated[
    list[Path] | None,
    typer.Option("--text", metavar="PATH", help="Files of text: a file, a folder, or a pattern; repeatable."),
]
JsonlOption = Annotated[
    list[Path] | None,
    typer.Option("--jsonl", metavar="PATH", help="Files with a JSON object a line; likewise."),
]
ParquetOption = Annotated[list[Path] | None, typer.Option("--parquet", metavar="PATH", help="Parquet; likewise.")]
FieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME",
        help="The field or column that is the document, instead of 'text'; several are joined by line ends. What has "
        "none of them is a conversation, if it has 'messages'.",
    ),
]
DocumentsOption = Annotated[
    Literal["whole", "paragraphs", "lines"],
    typer.Option("--documents", help="What a document of a text file is: the file, between blank lines, or a line."),
]
SeparatorOption = Annotated[
    str | None, typer.Option("--separator", metavar="TEXT", help="Instead: what lies between two of these.")
]
AlsoOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--also", metavar="PATH", help="Files of which nothing is held back, such as conversations; repeatable."
    ),
]
SkipOption = Annotated[
    bool, typer.Option("--skip-broken", help="Count broken lines and rows and go on, instead of ending there.")
]
HeldOutOption = Annotated[
    list[Path] | None,
    typer.Option("--held-out", metavar="PATH", help="Files that the model is tested with; leave out what is there."),
]
LicenceOption = Annotated[
    list[str] | None,
    typer.Option("--licence", metavar="TEXT", help="For the card: of all files, or FILE=LICENCE; repeatable."),
]
DeduplicateOption = Annotated[
    Literal["none", "exact", "near"],
    typer.Option("--deduplicate", help="Leave out documents that were there before, or similar ones."),
]
SplitOption = Annotated[
    Literal["auto", "documents", "end"],
    typer.Option("--split", help="Hold back documents, or the end of each text; 'auto': the end of a single text."),
]
ShardOption = Annotated[
    int | None, typer.Option("--shard-tokens", min=1, help="Tokens in a file, instead of 256 MiB of them.")
]


def train_data(
    tokenizer: Annotated[Path, typer.Option("--tokenizer", metavar="FOLDER", help="Has tokenizer.json.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the shards and their card go.")],
    text: TextOption = None,
    jsonl: JsonlOption = None,
    parquet: ParquetOption = None,
    field: FieldOption = None,
    documents: DocumentsOption = "whole",
    separator: SeparatorOption = None,
    skip_broken: SkipOption = False,
    deduplicate: DeduplicateOption = "exact",
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.01, max=1, help="Share of common runs of words that is similar.")
    ] = 0.8,
    permutations: Annotated[
        int, typer.Option("--permutations", min=16, max=1024, help="Numbers by which similarity is estimated.")
    ] = 128,
    held_out: HeldOutOption = None,
    also: AlsoOption = None,
    validation_share: Annotated[
        float, typer.Option("--validation-share", min=0, max=0.99, help="Of the documents, or of the text.")
    ] = 0.1,
    split: SplitOption = "auto",
    licence: LicenceOption = None,
    shard_tokens: ShardOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the search for similar documents.")] = 1,
) -> None:
    """Make token shards and their data card, for 'freehold train pretrain'. Needs the extra 'train'.

    Stopped or killed, the same command goes on where it was. The same files and options give the same bytes.
    """
    try:
        settings = DataSettings(
            sources=(*given_files(text, jsonl, parquet), *_files(also, learnt_whole=True)),
            held_out=tuple(_files(held_out)),
            reading=ReadingSettings(
                documents=documents, separator=separator, fields=tuple(field or ()), skip_broken=skip_broken
            ),
            tokenizer=tokenizer.resolve(),
            duplicates=DuplicateSettings(kind=deduplicate, threshold=threshold, permutations=permutations, seed=seed),
            validation_share=validation_share,
            split=split,
            shard_tokens=shard_tokens,
            licences=tuple(licence or ()),
        )
    except ValidationError as exc:
        raise ConfigError(exc.errors(include_url=False)[0]["msg"]) from exc
    try:
        asyncio.run(run_module(WORKER, ["data", settings.model_dump_json(), str(out.resolve())], say))
    except KeyboardInterrupt:
        print_note("stopped; the same command goes on where it was")
        raise


def _files(paths: list[Path] | None, *, learnt_whole: bool = False) -> list[SourceFile]:
    """Files of whatever kind their names say."""
    found = [file for path in paths or () for file in source_files(kind_of(path), [path])]
    return [file.model_copy(update={"learnt_whole": learnt_whole}) for file in found]


def given_files(text: list[Path] | None, jsonl: list[Path] | None, parquet: list[Path] | None) -> list[SourceFile]:
    """The files that the options name.

    Raises:
        ConfigError: a path names none.
        BadParameter: no option is given.
    """
    files = [
        *source_files("text", text or ()),
        *source_files("jsonl", jsonl or ()),
        *source_files("parquet", parquet or ()),
    ]
    if not files:
        raise typer.BadParameter("give files with --text, --jsonl or --parquet")
    return files
