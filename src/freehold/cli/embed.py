"""`freehold embed`: turn texts into vectors."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import open_service
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.requests import ModelOption
from freehold.cli.tables import print_table

app = command_group()

_SHOWN = 4
"""How many of a vector's numbers the summary shows."""
_EPILOG = """\b
Examples:
  freehold embed "a river" "a stream"
  freehold embed --json - < sentences.txt"""


@app.command(epilog=_EPILOG)
def embed(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT...", help="The texts; '-' reads one a line from stdin.")
    ] = None,
    model: ModelOption = "embed",
    dimensions: Annotated[int | None, typer.Option(min=1, help="Shorten the vectors to this length.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn texts into vectors and print a summary, or with --json the vectors. Needs a running server."""
    inputs = _inputs(texts)
    body: dict[str, Any] = {"model": model, "input": inputs}
    if dimensions is not None:
        body["dimensions"] = dimensions
    answer = asyncio.run(_ask(home_of(home), body))
    if as_json:
        print_json(answer)
    else:
        _print_summary(inputs, [item["embedding"] for item in answer["data"]])


def _inputs(texts: list[str] | None) -> list[str]:
    """The texts that were given, or the lines of stdin.

    Raises:
        typer.BadParameter: there are none.
    """
    if texts == ["-"] or (not texts and not sys.stdin.isatty()):
        texts = [line.strip() for line in sys.stdin if line.strip()]
    if not texts:
        raise typer.BadParameter("give the texts as arguments, or pipe them in, one a line")
    return texts


async def _ask(home: Path, body: dict[str, Any]) -> dict[str, Any]:
    async with open_service(home) as service:
        return await service.request("POST", "/v1/embeddings", body)


def _print_summary(inputs: list[str], vectors: list[list[float]]) -> None:
    """A row a text; with several, how alike each is to the first (the cosine: 1 is the same direction)."""
    rows = [
        (
            text if len(text) <= 40 else f"{text[:39]}…",
            len(vector),
            " ".join(f"{number:+.3f}" for number in vector[:_SHOWN]) + (" …" if len(vector) > _SHOWN else ""),
            f"{sum(a * b for a, b in zip(vectors[0], vector, strict=True)):.3f}",
        )
        for text, vector in zip(inputs, vectors, strict=True)
    ]
    print_table(("text", "numbers", "vector", "like the first"), rows)
