"""`freehold complete`: let a deployment continue a text."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import open_service
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.requests import (
    MaxTokensOption,
    ModelOption,
    SeedOption,
    StopOption,
    TemperatureOption,
    TopPOption,
    print_pieces,
    read_text,
    sampling,
)

app = command_group()

_PATH = "/v1/completions"


@app.command(epilog='Example: freehold complete "Once upon a time" --max-tokens 60')
def complete(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The text to continue; '-' reads it from stdin.")
    ] = None,
    model: ModelOption = "chat",
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    stop: StopOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Continue a text and print what comes. Needs a running server.

    Without --max-tokens the API's default of 16 holds. --json prints the API's whole answer.
    """
    body = {
        "model": model,
        "prompt": read_text(prompt, "text"),
        **sampling(temperature, top_p, max_tokens, seed, stop),
    }
    if as_json:
        print_json(asyncio.run(_ask(home_of(home), body)))
    else:
        asyncio.run(_continue(home_of(home), {**body, "stream": True}))


async def _ask(home: Path, body: dict[str, Any]) -> dict[str, Any]:
    """The API's answer, in one piece."""
    async with open_service(home) as service:
        return await service.request("POST", _PATH, body)


async def _continue(home: Path, body: dict[str, Any]) -> None:
    """Print the continuation as it comes."""
    async with open_service(home) as service:
        await print_pieces(_pieces(service.events(_PATH, body)))


async def _pieces(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """The text in the chunks of a streamed completion."""
    async for event in events:
        for choice in event.get("choices") or []:
            if choice.get("text"):
                yield choice["text"]
