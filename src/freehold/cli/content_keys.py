"""`freehold content-keys`: the keys that kept content is encrypted under."""

import asyncio
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, YesOption, confirm, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import at_time, print_table

app = command_group("Revoke and restore the keys of kept content.", "Example: freehold content-keys revoke PROJECT_ID")

ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT_ID", help="The project's id.")]


@app.callback(invoke_without_command=True)
def content_keys(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Revoke and restore the keys of kept content. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold content-keys list --json")
def list_content_keys(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the keys, destroyed ones included: whose content each encrypts, and which master key wraps it."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("revoke", epilog="Example: freehold content-keys revoke proj_0123456789abcdef01234567")
def revoke_content_key(
    project: ProjectArgument, yes: YesOption = False, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Revoke a project's key: its running requests end, nothing is done for it, its own deployments stop."""
    confirm(f"Stop everything that runs for the project {project}, until its key is restored?", yes=yes)
    asyncio.run(_change(home_of(home), project, "revoke", as_json=as_json))


@app.command("restore", epilog="Example: freehold content-keys restore proj_0123456789abcdef01234567")
def restore_content_key(project: ProjectArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Restore a project's key that was revoked: the project is served again, with all that it had kept."""
    asyncio.run(_change(home_of(home), project, "restore", as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/v1/organization/content-keys")
    if as_json:
        print_json(answer)
        return
    if not answer["data"]:
        print_note("There are no content keys yet: nothing was kept.")
        return
    rows = [
        (
            key["id"],
            key["project_id"] or "every project",
            key["owner_id"] or "the project",
            key["state"],
            key["master_key"] or "",
            at_time(key["created_at"]),
            at_time(key["destroyed_at"] or key["revoked_at"]),
        )
        for key in answer["data"]
    ]
    print_table(("id", "project", "of", "state", "master key", "made", "ended"), rows)


async def _change(home: Path, project: str, change: str, *, as_json: bool) -> None:
    path = f"/v1/organization/projects/{quote(project, safe='')}/content-key/{change}"
    async with open_control(home) as control:
        answer = await control.request("POST", path)
    if as_json:
        print_json(answer)
    else:
        print(f"{'' if answer['changed'] else 'unchanged: '}{answer['state']}: the content key of {project}")
