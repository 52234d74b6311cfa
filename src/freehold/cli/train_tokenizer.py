"""`freehold train tokenizer`: learn how texts are cut into tokens."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer

from freehold.cli.output import say
from freehold.cli.train_data import (
    WORKER,
    DocumentsOption,
    FieldOption,
    JsonlOption,
    ParquetOption,
    SeparatorOption,
    SkipOption,
    TextOption,
    given_files,
)
from freehold.training.data.settings import LEAST, ReadingSettings, TokenizerOrder, TokenizerSettings
from freehold.training.process import run_module

TOKENIZER_EXAMPLE = "Example: freehold train tokenizer --text book.txt --vocabulary 1024 --out tokenizer"


def train_tokenizer(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the tokenizer goes.")],
    text: TextOption = None,
    jsonl: JsonlOption = None,
    parquet: ParquetOption = None,
    field: FieldOption = None,
    documents: DocumentsOption = "whole",
    separator: SeparatorOption = None,
    skip_broken: SkipOption = False,
    vocabulary: Annotated[
        int,
        typer.Option("--vocabulary", min=LEAST, max=1 << 20, help=f"Tokens; with {LEAST} each byte is one."),
    ] = 32_768,
    cut: Annotated[
        Literal["gpt-2", "smollm", "llama-bpe", "qwen2"],
        typer.Option("--cut", help="How texts are cut before bytes are joined; smollm and qwen2 keep digits apart."),
    ] = "gpt-2",
    longest: Annotated[int, typer.Option("--longest", min=1, help="Bytes of a token at most.")] = 32,
    most_bytes: Annotated[
        int, typer.Option("--most-bytes", min=1, help="Of the files so much text is read.")
    ] = 2_000_000_000,
) -> None:
    """Learn a byte-level BPE tokenizer that transformers and the engines read. Needs the extra 'train'.

    The same files and options give the same tokenizer, byte for byte.
    """
    order = TokenizerOrder(
        sources=tuple(given_files(text, jsonl, parquet)),
        reading=ReadingSettings(
            documents=documents, separator=separator, fields=tuple(field or ()), skip_broken=skip_broken
        ),
        settings=TokenizerSettings(vocabulary=vocabulary, cut=cut, longest=longest),
        most_bytes=most_bytes,
    )
    asyncio.run(run_module(WORKER, ["tokenizer", order.model_dump_json(), str(out.resolve())], say))
