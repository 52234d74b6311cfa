"""`freehold gateways`: the servers that share one database."""

import asyncio
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.leads import led_by
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.tables import print_table

app = command_group("List and remove the gateways of the database.", "Example: freehold gateways list")


@app.callback()
def gateways() -> None:
    """List and remove the gateways that share this home's database."""


@app.command("list", epilog="Example: freehold gateways list")
def list_gateways(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the gateways: which run, with which version, and where they are reached."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("remove", epilog="Example: freehold gateways remove gateway-3")
def remove_gateway(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The gateway's name, as the list shows it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget a gateway that will not come back: what it had reserved counts as spent, and others go on with its jobs.

    One that runs is not removed: stop it first.
    """
    asyncio.run(_remove(home_of(home), name, as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/admin/gateways")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            f"{each['name']} *" if each["self"] else each["name"],
            each["state"],
            each["version"],
            "" if each["seen_at"] is None else f"{max(0, int(time.time()) - each['seen_at'])} s ago",
            each["url"] or "",
        )
        for each in answer["data"]
    ]
    print_table(("gateway", "state", "version", "seen", "url"), rows)
    print("* this one")
    if answer["lead"] is not None:
        print(led_by(answer["lead"]))


async def _remove(home: Path, name: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("DELETE", f"/admin/gateways/{quote(name, safe='')}")
    if as_json:
        print_json(answer)
    else:
        print(f"{name} removed")
