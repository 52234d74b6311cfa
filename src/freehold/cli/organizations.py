"""`freehold organizations`: the tenants of the service."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import at_time, print_table

app = command_group("Make and list organizations.", 'Example: freehold organizations create "Example Ltd"')


@app.callback(invoke_without_command=True)
def organizations(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make and list organizations, the tenants of the service. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold organizations list --json")
def list_organizations(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the organizations; the first one runs the service."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("create", epilog='Example: KEY=$(freehold organizations create "Example Ltd")')
def create_organization(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="EMAIL", help="Invite this person as its first owner.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an organization, and print its first owner's invitation link or, without --owner, a key that owns it."""
    asyncio.run(_create(home_of(home), name, owner, as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/admin/organizations")
    if as_json:
        print_json(answer)
        return
    rows = [
        (each["id"], each["name"], each["projects"], each["users"], at_time(each["created_at"]))
        for each in answer["data"]
    ]
    print_table(("id", "name", "projects", "users", "created"), rows)


async def _create(home: Path, name: str, owner: str | None, *, as_json: bool) -> None:
    body = {"name": name} if owner is None else {"name": name, "owner_email": owner}
    async with open_control(home) as control:
        answer = await control.request("POST", "/admin/organizations", body)
    if as_json:
        print_json(answer)
        return
    print(_secret(answer))
    what = "The key" if owner is None else f"The invitation of {owner}"
    print_note(f"Organization {answer['id']} ('{name}'). {what} is not shown again: keep it now.")


def _secret(answer: dict[str, Any]) -> str:
    """What only this answer has: the key, or the invitation's link."""
    if answer["api_key"] is not None:
        return str(answer["api_key"]["value"])
    link = answer["invite"]["link"]
    return str(link.get("url") or link["token"])
