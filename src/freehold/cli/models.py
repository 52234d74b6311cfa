"""`freehold models`: what lies in the catalog."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, YesOption, confirm, home_of, pass_on
from freehold.cli.output import print_json
from freehold.cli.tables import in_bytes, print_table

app = command_group("List and delete the catalog's models.", "Example: freehold models")


@app.callback(invoke_without_command=True)
def models(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List and delete the catalog's models. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold models list --json")
def list_models(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the models that are on disk."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("delete", epilog="Example: freehold models delete llama-3.2-1b --yes")
def delete_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name in the catalog.")],
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a model and its file. A model that a deployment uses stays."""
    confirm(f"Delete the model '{name}' and its file?", yes=yes)
    asyncio.run(_delete(home_of(home), name, as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/admin/models")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            model["name"],
            in_bytes(model["size_bytes"]),
            _about(model["details"]),
            model["source"],
        )
        for model in answer["data"]
    ]
    print_table(("name", "size", "about", "source"), rows)


def _about(details: dict[str, Any]) -> str:
    """What is known of a model, in a few words."""
    known = [str(details[name]) for name in ("architecture", "quantization", "licence") if details.get(name)]
    return ", ".join(known)


async def _delete(home: Path, name: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("DELETE", f"/admin/models/{quote(name, safe='')}")
    if as_json:
        print_json(answer)
    else:
        print(f"deleted {name}")
