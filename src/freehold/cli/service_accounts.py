"""`freehold service-accounts`: programs as members of a project."""

import asyncio
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.listing import PROJECTS, every, only, project_id
from freehold.cli.options import HomeOption, JsonOption, YesOption, confirm, home_of
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import at_time, print_table

app = command_group(
    "Make, list and delete service accounts.", "Example: freehold service-accounts create crawler --project Search"
)

ProjectOption = Annotated[str, typer.Option("--project", metavar="ID|NAME", help="In which project.")]


@app.callback()
def service_accounts() -> None:
    """Make, list and delete service accounts: programs that are members of a project and have keys of their own."""


@app.command("list", epilog="Example: freehold service-accounts list --project Search")
def list_accounts(project: ProjectOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List a project's service accounts."""
    asyncio.run(_list(home_of(home), project, as_json=as_json))


@app.command("create", epilog="Example: KEY=$(freehold service-accounts create crawler --project Search)")
def create_account(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the program is called.")],
    project: ProjectOption,
    no_key: Annotated[bool, typer.Option("--no-key", help="Without a key; print the account's id.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a service account that may call deployments, and print its key. The key is shown this once."""
    asyncio.run(_create(home_of(home), project, name, no_key=no_key, as_json=as_json))


@app.command("delete", epilog="Example: freehold service-accounts delete crawler --project Search --yes")
def delete_account(
    account: Annotated[str, typer.Argument(metavar="ID|NAME", help="The account's id, or its name.")],
    project: ProjectOption,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a service account: its keys are revoked, and what runs by them ends at once."""
    confirm(f"Delete the service account '{account}' and revoke its keys?", yes=yes)
    asyncio.run(_delete(home_of(home), project, account, as_json=as_json))


async def _list(home: Path, project: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await every(control, _path(await project_id(control, project)))
    if as_json:
        print_json({"object": "list", "data": found})
        return
    rows = [(each["id"], each["name"], each["role"], at_time(each["created_at"])) for each in found]
    print_table(("id", "name", "role", "created"), rows)


async def _create(home: Path, project: str, name: str, *, no_key: bool, as_json: bool) -> None:
    async with open_control(home) as control:
        body = {"name": name, "create_service_account_only": no_key}
        answer = await control.request("POST", _path(await project_id(control, project)), body)
    if as_json:
        print_json(answer)
    elif no_key:
        print(answer["id"])
    else:
        print(answer["api_key"]["value"])
        print_note(f"Service account {answer['id']} ('{name}'). Keep the key now: it is not shown again.")


async def _delete(home: Path, project: str, account: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        path = _path(await project_id(control, project))
        where = f"freehold service-accounts list --project {project}"
        found = only(await every(control, path), account, "service account", where)
        answer = await control.request("DELETE", f"{path}/{quote(found['id'], safe='')}")
    if as_json:
        print_json(answer)
    else:
        print(f"deleted {found['id']} ('{found['name']}')")


def _path(project: str) -> str:
    return f"{PROJECTS}/{quote(project, safe='')}/service_accounts"
