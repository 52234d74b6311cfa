"""`freehold can`: whether somebody may do something, and why."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json
from freehold.cli.tables import print_table

app = command_group()

_EPILOG = """\b
Examples:
  freehold can key_0123456789abcdef01234567 deployments:infer deployments/chat
  freehold can alice@example.com limits:write projects/proj-default"""


@app.command(epilog=_EPILOG)
def can(
    principal: Annotated[
        str, typer.Argument(metavar="PRINCIPAL", help="A key's id, a user's or service account's, or a user's e-mail.")
    ],
    action: Annotated[str, typer.Argument(metavar="ACTION", help="An action, such as deployments:infer.")],
    resource: Annotated[
        str, typer.Argument(metavar="RESOURCE", help="To what, such as deployments/chat or projects/proj-default.")
    ],
    project: Annotated[
        str | None, typer.Option(metavar="ID", help="In which project it acts. [default: the first it belongs to]")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether somebody may do something, and every step of the reason. Exit code 0 if allowed, 1 if not."""
    query = {"principal": principal, "action": action, "resource": resource}
    if project is not None:
        query["project"] = project
    found = asyncio.run(_ask(home_of(home), urlencode(query)))
    if as_json:
        print_json(found)
    else:
        rows = [(step["step"], "yes" if step["allowed"] else "NO", step["reason"]) for step in found["steps"]]
        print_table(("step", "allows", "reason"), rows)
        print(f"{'allowed' if found['allowed'] else 'denied'}: {principal} {found['action']} {resource}")
    if not found["allowed"]:
        raise typer.Exit(ExitCode.FAILED)


async def _ask(home: Path, query: str) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request("GET", f"/admin/can?{query}")
