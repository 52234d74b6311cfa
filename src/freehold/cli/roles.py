"""`freehold roles`: which roles there are, and what each allows."""

import asyncio
from pathlib import Path

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.tables import print_table

app = command_group("List the roles and what they allow.", "Example: freehold roles")


@app.callback(invoke_without_command=True)
def roles(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the roles and what they allow: those that every home has, and those of the configuration file."""
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/v1/organization/roles")
    if as_json:
        print_json(answer)
        return
    rows = [
        (role["name"], "built-in" if role["predefined_role"] else "configuration", " ".join(role["permissions"]))
        for role in answer["data"]
    ]
    print_table(("role", "from", "allows"), rows)
