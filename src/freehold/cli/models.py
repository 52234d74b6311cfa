"""`freehold models`: what lies in the catalog."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.moments import moment
from freehold.cli.options import HomeOption, JsonOption, YesOption, confirm, home_of, pass_on
from freehold.cli.output import print_json
from freehold.cli.tables import in_bytes, print_table

ModelArgument: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The model's name in the catalog.")]

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


@app.command("default", epilog="Example: freehold models default house-2 --family house --version 2")
def set_default(
    name: ModelArgument,
    family: Annotated[str | None, typer.Option(help="The family. [default: the one that it is of]")] = None,
    version: Annotated[str | None, typer.Option(help="What it is called in the family.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a model the default of its family. Deployments with upgrade = "new_default" go over to it."""
    body = {key: value for key, value in (("family", family), ("version", version)) if value is not None}
    answer = asyncio.run(_call(home_of(home), "POST", f"{_path(name)}/default", body))
    _tell(answer, f"{name} is the default of {answer['details']['family']}", as_json=as_json)


@app.command("retire", epilog="Example: freehold models retire house-1 --at 2027-06-30")
def retire(
    name: ModelArgument,
    at: Annotated[
        str | None, typer.Option("--at", metavar="DATE", help="From when on it serves no more; UTC without a zone.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Take the date back.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set when a model is retired. Its callers are told in the headers `deprecation` and `sunset`."""
    if cancel == (at is not None):
        raise typer.BadParameter("give a date, or --cancel", param_hint="--at")
    when = None if at is None else moment(at, "--at").isoformat()
    answer = asyncio.run(_call(home_of(home), "POST", f"{_path(name)}/retirement", {"at": when}))
    _tell(answer, f"{name} is not retired" if when is None else f"{name} is retired at {when}", as_json=as_json)


@app.command("callers", epilog="Example: freehold models callers house-1 --days 7")
def callers(
    name: ModelArgument,
    days: Annotated[int, typer.Option(min=1, max=3660, help="Of so many last days.")] = 30,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who called a model: projects and keys, the most frequent first."""
    answer = asyncio.run(_call(home_of(home), "GET", f"{_path(name)}/callers?days={days}"))
    if as_json:
        print_json(answer)
        return
    columns = ("organization_id", "project_id", "key_id", "deployment", "requests")
    print_table(columns, [[found[column] for column in columns] for found in answer["data"]])


def _path(name: str) -> str:
    return f"/admin/models/{quote(name, safe='')}"


def _tell(answer: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    print(text)
    for deployment in answer["upgraded"]:
        print(f"the deployment {deployment} went over to it")


async def _call(home: Path, method: str, path: str, body: Any = None) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request(method, path, body)


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
