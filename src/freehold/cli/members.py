"""`freehold members`: who belongs to a project, and in which role."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.listing import PROJECTS, every, project_id
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.tables import at_time, print_table
from freehold.errors import NotFound

app = command_group(
    "Add people to a project and remove them.", "Example: freehold members add ann@example.org --project Search"
)

ProjectOption = Annotated[str, typer.Option("--project", metavar="ID|NAME", help="Of which project.")]
UserArgument = Annotated[str, typer.Argument(metavar="EMAIL|ID", help="The user's e-mail address, or the id.")]


@app.callback()
def members() -> None:
    """Add people to a project and remove them; programs are 'freehold service-accounts'."""


@app.command("list", epilog="Example: freehold members list --project Search")
def list_members(project: ProjectOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the users who hold a role in the project itself."""
    asyncio.run(_list(home_of(home), project, as_json=as_json))


@app.command("add", epilog="Example: freehold members add ann@example.org --project Search --role deployer")
def add_member(
    user: UserArgument,
    project: ProjectOption,
    role: Annotated[str, typer.Option(help="The role to hold there; 'freehold roles' lists them.")] = "user",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a user of the organization a role in a project; who has one there gets this one instead."""
    asyncio.run(_add(home_of(home), project, user, role, as_json=as_json))


@app.command("remove", epilog="Example: freehold members remove ann@example.org --project Search")
def remove_member(
    user: UserArgument, project: ProjectOption, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Take a user out of a project: what runs there by their keys and sessions ends at once."""
    asyncio.run(_remove(home_of(home), project, user, as_json=as_json))


async def _list(home: Path, project: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await every(control, _path(await project_id(control, project)))
    if as_json:
        print_json({"object": "list", "data": found})
        return
    rows = [(each["id"], each["email"], each["name"], each["role"], at_time(each["added_at"])) for each in found]
    print_table(("id", "e-mail", "name", "role", "added"), rows)


async def _add(home: Path, project: str, user: str, role: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        path = _path(await project_id(control, project))
        known = await _find(control, path, user)
        if known is None:
            named = {"email": user} if "@" in user else {"user_id": user}
            answer = await control.request("POST", path, {**named, "role": role})
        else:
            answer = await control.request("POST", f"{path}/{quote(known['id'], safe='')}", {"role": role})
    if as_json:
        print_json(answer)
    else:
        print(f"{answer['email']} is {answer['role']} of {project}")


async def _remove(home: Path, project: str, user: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        path = _path(await project_id(control, project))
        known = await _find(control, path, user)
        if known is None:
            raise NotFound(f"'{user}' holds no role in the project; 'freehold members list' shows who does")
        answer = await control.request("DELETE", f"{path}/{quote(known['id'], safe='')}")
    if as_json:
        print_json(answer)
    else:
        print(f"removed {known['email']} from {project}")


async def _find(control: Control, path: str, user: str) -> dict[str, Any] | None:
    wanted = user.strip().lower()
    found = (each for each in await every(control, path) if wanted in {each["id"], each["email"]})
    return next(found, None)


def _path(project: str) -> str:
    return f"{PROJECTS}/{quote(project, safe='')}/users"
