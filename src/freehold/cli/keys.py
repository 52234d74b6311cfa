"""`freehold keys`: who may call."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import at_time, print_table
from freehold.errors import Conflict, NotFound

app = command_group("Create, list and revoke API keys.", "Example: freehold keys create billing-app")


class KeyRole(StrEnum):
    """What the holder of a key may do."""

    USER = "user"
    OWNER = "owner"


@app.callback(invoke_without_command=True)
def keys(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Create, list and revoke API keys. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold keys list --json")
def list_keys(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the keys, revoked ones included; of the key itself only its last four characters are known."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("create", epilog="Example: KEY=$(freehold keys create billing-app)")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    role: Annotated[
        KeyRole, typer.Option(help="user: may call deployments; owner: may administer, too.")
    ] = KeyRole.USER,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key and print it. It is shown this once: only its hash is kept."""
    asyncio.run(_create(home_of(home), name, role, as_json=as_json))


@app.command("revoke", epilog="Example: freehold keys revoke billing-app")
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="ID|NAME", help="The key's id, or its name if only one has it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key: within a second it opens nothing any more, and its running streams end."""
    asyncio.run(_revoke(home_of(home), key, as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/admin/keys")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            key["id"],
            key["name"],
            f"…{key['last4']}",
            key["role"],
            at_time(key["created_at"]),
            at_time(key["revoked_at"]),
        )
        for key in answer["data"]
    ]
    print_table(("id", "name", "key", "role", "created", "revoked"), rows)


async def _create(home: Path, name: str, role: KeyRole, *, as_json: bool) -> None:
    async with open_control(home) as control:
        key = await control.request("POST", "/admin/keys", {"name": name, "role": role.value})
    if as_json:
        print_json(key)
        return
    print(key["key"])
    print_note(f"Key {key['id']} ('{name}', {role.value}). Keep it now: it is not shown again.")


async def _revoke(home: Path, wanted: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        key = await find_key(control, wanted)
        answer = await control.request("DELETE", f"/admin/keys/{key['id']}")
    if as_json:
        print_json(answer)
    else:
        print(f"revoked {key['id']} ('{key['name']}')")


async def find_key(control: Control, wanted: str) -> dict[str, Any]:
    """The key of that id or, if there is just one, the valid key of that name."""
    keys: list[dict[str, Any]] = (await control.request("GET", "/admin/keys"))["data"]
    by_id = [key for key in keys if key["id"] == wanted]
    found = by_id or [key for key in keys if key["name"] == wanted and key["revoked_at"] is None]
    if not found:
        raise NotFound(f"there is no valid key '{wanted}'; 'freehold keys list' shows them")
    if len(found) > 1:
        raise Conflict(
            f"{len(found)} keys are called '{wanted}'; name one by its id: {', '.join(k['id'] for k in found)}"
        )
    return found[0]
