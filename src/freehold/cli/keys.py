"""`freehold keys`: who may call."""

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.listing import project_id
from freehold.cli.moments import duration_s
from freehold.cli.options import HomeOption, JsonOption, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import at_time, print_table
from freehold.errors import Conflict, NotFound
from freehold.types.identity import Action, Role

app = command_group("Create, list, rotate and revoke API keys.", "Example: freehold keys create billing-app")


_CREATE = """\b
Examples:
  KEY=$(freehold keys create billing-app)
  freehold keys create crawler --project Search --model 'embed*' --from 10.0.0.0/8 --expires 90d
  freehold keys create auditor --role auditor --everywhere --expires 30d"""

KeyArgument = Annotated[str, typer.Argument(metavar="ID|NAME", help="The key's id, or its name if only one has it.")]


@app.callback(invoke_without_command=True)
def keys(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Create, list, rotate and revoke API keys. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold keys list --json")
def list_keys(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the keys, revoked ones included; of the key itself only its last four characters are known."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("create", epilog=_CREATE)
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    role: Annotated[str, typer.Option(help="What it may do at most; 'freehold roles' lists the roles.")] = Role.USER,
    project: Annotated[
        str | None,
        typer.Option("--project", metavar="ID|NAME", help="In which project it acts. [default: proj-default]"),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="The role holds in the whole organization; an owner's always does.")
    ] = False,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help="Only this deployment, or 'chat*'. Repeatable.")
    ] = None,
    operation: Annotated[
        list[Action] | None, typer.Option("--operation", help="Only this action. Repeatable.", metavar="ACTION")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option("--from", metavar="CIDR", help="Only from this network. Repeatable.")
    ] = None,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="After what time it ends, such as 90d.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key with a service account of its own, and print it. It is shown this once: only its hash is kept."""
    scope = {"models": model, "operations": operation, "ip_ranges": network}
    body: dict[str, Any] = {
        "name": name,
        "role": role,
        "everywhere": everywhere,
        "scope": {what: values for what, values in scope.items() if values},
    }
    if expires is not None:
        body["expires_in_seconds"] = duration_s(expires, "--expires")
    asyncio.run(_create(home_of(home), project, body, as_json=as_json))


@app.command("rotate", epilog="Example: NEW_KEY=$(freehold keys rotate billing-app --overlap 24h)")
def rotate_key(
    key: KeyArgument,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old key goes on, such as 24h; 0 ends it at once.")
    ] = "24h",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make and print a successor with the same owner, project, scope and limits. The old key ends after the overlap."""
    asyncio.run(_rotate(home_of(home), key, duration_s(overlap, "--overlap"), as_json=as_json))


@app.command("revoke", epilog="Example: freehold keys revoke billing-app")
def revoke_key(
    key: KeyArgument,
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
            key["owner"] or key["owner_id"],
            key["project_id"],
            _scope(key["scope"]),
            at_time(key["expires_at"]),
            at_time(key["last_used_at"]),
            at_time(key["created_at"]),
            at_time(key["revoked_at"]),
        )
        for key in answer["data"]
    ]
    columns = ("id", "name", "key", "role", "owner", "project", "scope", "ends", "last used", "created", "revoked")
    print_table(columns, rows)


def _scope(scope: dict[str, list[str]]) -> str:
    """What a key is cut down to, in a line."""
    return "; ".join(f"{what.replace('_', ' ')}: {', '.join(values)}" for what, values in scope.items())


async def _create(home: Path, project: str | None, body: dict[str, Any], *, as_json: bool) -> None:
    async with open_control(home) as control:
        where = {} if project is None else {"project_id": await project_id(control, project)}
        key = await control.request("POST", "/admin/keys", {**body, **where})
    if as_json:
        print_json(key)
        return
    print(key["key"])
    ends = f", until {at_time(key['expires_at'])} UTC" if key["expires_at"] is not None else ""
    print_note(f"Key {key['id']} ('{key['name']}', {key['role']}{ends}). Keep it now: it is not shown again.")


async def _rotate(home: Path, wanted: str, overlap_s: int, *, as_json: bool) -> None:
    async with open_control(home) as control:
        old = await find_key(control, wanted)
        path = f"/admin/keys/{old['id']}/rotate"
        key = await control.request("POST", path, {"overlap_seconds": overlap_s})
    if as_json:
        print_json(key)
        return
    print(key["key"])
    ends = at_time(key["replaces"]["expires_at"])
    print_note(f"Key {key['id']} takes the place of {old['id']}, which ends {ends} UTC. It is not shown again.")


async def _revoke(home: Path, wanted: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        key = await find_key(control, wanted)
        answer = await control.request("DELETE", f"/admin/keys/{key['id']}")
    if as_json:
        print_json(answer)
    else:
        print(f"revoked {key['id']} ('{key['name']}')")


def is_valid(key: dict[str, Any]) -> bool:
    """Whether a key can still be used: neither revoked nor at its end."""
    return key["revoked_at"] is None and (key["expires_at"] is None or key["expires_at"] > time.time())


async def find_key(control: Control, wanted: str) -> dict[str, Any]:
    """The key of that id or, if there is just one, the valid key of that name."""
    keys: list[dict[str, Any]] = (await control.request("GET", "/admin/keys"))["data"]
    by_id = [key for key in keys if key["id"] == wanted]
    found = by_id or [key for key in keys if key["name"] == wanted and is_valid(key)]
    if not found:
        raise NotFound(f"there is no valid key '{wanted}'; 'freehold keys list' shows them")
    if len(found) > 1:
        raise Conflict(
            f"{len(found)} keys are called '{wanted}'; name one by its id: {', '.join(k['id'] for k in found)}"
        )
    return found[0]
