"""`freehold pull`: fetch a model into the catalog."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.progress import FetchProgress
from freehold.cli.tables import in_bytes
from freehold.config import Settings, load_settings
from freehold.errors import EngineFailed

app = command_group()

_EPILOG = """\b
Examples:
  freehold pull smollm2-135m-instruct
  freehold pull hf://org/repo/model.Q4_K_M.gguf --name my-model
  freehold pull file:///models/model.gguf --sha256 9f86d08…
  freehold pull hf://org/repo --no-convert"""


@app.command(epilog=_EPILOG)
def pull(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="NAME|URI", help="A known model's name, or where it is: hf://, pypi://, https:// or file://."
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", "-n", help="What to call it. [default: from the URI]")] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="The digest that the file must have.")
    ] = None,
    convert: Annotated[
        bool,
        typer.Option("--convert/--no-convert", help="Whether safetensors become GGUF; vllm reads them as they are."),
    ] = True,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a model, verify it and, where needed, convert it to GGUF.

    An interrupted fetch goes on where it stopped. --config gives the [catalog] settings when no server runs.
    """
    body = {"source": reference, "name": name, "sha256": sha256, "convert": None if convert else False}
    given = {key: value for key, value in body.items() if value is not None}
    model = asyncio.run(_pull(home_of(home), given, load_settings(config)))
    if as_json:
        print_json(model)
    else:
        print(f"{model['name']}  {model['format']}  {in_bytes(model['size_bytes'])}  sha256:{model['sha256']}")


async def _pull(home: Path, body: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Fetch one model, showing how far it is, and return its catalog entry."""
    with FetchProgress() as progress:
        progress.begin(body.get("name") or body["source"])
        async with open_control(home, settings) as control:
            async for event in control.stream("POST", "/admin/models", body):
                if "model" in event:
                    model: dict[str, Any] = event["model"]
                    return model
                progress.show(event["stage"], event["done_bytes"], event.get("total_bytes"))
    raise EngineFailed("the service ended without an answer; see the server's log")
