"""What the commands that call deployments share: reading the input, streaming the answer."""

import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeAlias

import typer

from freehold.cli.output import visible

ModelOption: TypeAlias = Annotated[str, typer.Option("--model", "-m", help="The deployment's name or an alias.")]
TemperatureOption: TypeAlias = Annotated[
    float | None, typer.Option("--temperature", "-t", min=0, max=2, help="0 is the likeliest answer, 2 the wildest.")
]
TopPOption: TypeAlias = Annotated[float | None, typer.Option(min=0, max=1, help="Choose among the likeliest words.")]
MaxTokensOption: TypeAlias = Annotated[int | None, typer.Option("--max-tokens", min=1, help="The longest answer.")]
SeedOption: TypeAlias = Annotated[int | None, typer.Option(help="The same seed gives the same answer.")]
StopOption: TypeAlias = Annotated[list[str] | None, typer.Option(help="Stop before this text. Repeatable.")]


def read_text(given: str | None, what: str) -> str:
    """The text that was given; `-`, or none where stdin is not a terminal, means stdin.

    Raises:
        typer.BadParameter: there is no text.
    """
    if given == "-" or (given is None and not sys.stdin.isatty()):
        given = sys.stdin.read().strip()
    if not given:
        raise typer.BadParameter(f"give the {what} as an argument, or pipe it in")
    return given


def sampling(
    temperature: float | None, top_p: float | None, max_tokens: int | None, seed: int | None, stop: list[str] | None
) -> dict[str, Any]:
    """The parameters that were given, as the API names them."""
    values = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "seed": seed, "stop": stop or None}
    return {name: value for name, value in values.items() if value is not None}


async def print_pieces(pieces: AsyncIterator[str]) -> str:
    """Print a text piece by piece as it comes, and return the whole."""
    whole = []
    async for piece in pieces:
        whole.append(piece)
        sys.stdout.write(visible(piece))
        sys.stdout.flush()
    print()
    return "".join(whole)
