"""`freehold projects`: the parts of the organization, each with its members, keys and limits."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.listing import PROJECTS, every, project_id
from freehold.cli.options import HomeOption, JsonOption, YesOption, confirm, home_of, pass_on
from freehold.cli.output import print_json
from freehold.cli.tables import at_time, print_table

app = command_group("Make, rename and archive projects.", 'Example: freehold projects create "Search team"')

ProjectArgument = Annotated[str, typer.Argument(metavar="ID|NAME", help="The project's id, or its name.")]


@app.callback(invoke_without_command=True)
def projects(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make, rename and archive projects. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), archived=False, as_json=as_json))


@app.command("list", epilog="Example: freehold projects list --archived")
def list_projects(
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones, too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the projects."""
    asyncio.run(_list(home_of(home), archived=archived, as_json=as_json))


@app.command("create", epilog='Example: PROJECT=$(freehold projects create "Search team")')
def create_project(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a project and print its id."""
    asyncio.run(_change(home_of(home), None, {"name": name}, as_json=as_json))


@app.command("rename", epilog='Example: freehold projects rename "Search team" "Search"')
def rename_project(
    project: ProjectArgument,
    name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="What it is to be called.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a project another name; its id stays."""
    asyncio.run(_change(home_of(home), project, {"name": name}, as_json=as_json))


@app.command("archive", epilog="Example: freehold projects archive Search --yes")
def archive_project(
    project: ProjectArgument, yes: YesOption = False, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Archive a project for ever: its keys are revoked, and what runs in it ends at once."""
    confirm(f"Archive the project '{project}' and revoke its keys? It cannot be brought back.", yes=yes)
    asyncio.run(_change(home_of(home), project, None, as_json=as_json))


async def _list(home: Path, *, archived: bool, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await every(control, PROJECTS, include_archived=str(archived).lower())
    if as_json:
        print_json({"object": "list", "data": found})
        return
    rows = [(each["id"], each["name"], at_time(each["created_at"]), at_time(each["archived_at"])) for each in found]
    print_table(("id", "name", "created", "archived"), rows)


async def _change(home: Path, project: str | None, body: dict[str, Any] | None, *, as_json: bool) -> None:
    """Make a project, change one or, without a body, archive it."""
    async with open_control(home) as control:
        path = PROJECTS if project is None else f"{PROJECTS}/{await project_id(control, project)}"
        answer = await control.request("POST", path if body is not None else f"{path}/archive", body)
    if as_json:
        print_json(answer)
    elif project is None:
        print(answer["id"])
    else:
        print(f"{'renamed' if body is not None else 'archived'} {answer['id']} ('{answer['name']}')")
