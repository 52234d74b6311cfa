"""`freehold invites`: asking people to join the organization."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.listing import every, project_id
from freehold.cli.options import HomeOption, JsonOption, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import at_time, print_table
from freehold.errors import NotFound

app = command_group("Invite people into the organization.", "Example: freehold invites create ann@example.org")

INVITES = "/v1/organization/invites"
InviteArgument = Annotated[str, typer.Argument(metavar="ID|EMAIL", help="The invitation's id, or whom it is for.")]


class InvitedRole(StrEnum):
    """What the invited person is to be in the organization."""

    READER = "reader"
    OWNER = "owner"


@app.callback(invoke_without_command=True)
def invites(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Invite people into the organization. Without a command: list the invitations."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold invites list --json")
def list_invites(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the invitations and what became of them."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("create", epilog="Example: freehold invites create ann@example.org --project Search")
def create_invite(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Whom to invite.")],
    role: Annotated[InvitedRole, typer.Option(help="The role in the organization.")] = InvitedRole.READER,
    project: Annotated[
        list[str] | None, typer.Option("--project", metavar="ID|NAME", help="Into this project, as user. Repeatable.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Invite somebody and print the link with which they accept. It holds for seven days, and is shown this once."""
    asyncio.run(_create(home_of(home), email, role, project or [], as_json=as_json))


@app.command("link", epilog="Example: freehold invites link ann@example.org")
def link_invite(invite: InviteArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make and print a new link for an invitation; the one before holds no more."""
    asyncio.run(_link(home_of(home), invite, as_json=as_json))


@app.command("delete", epilog="Example: freehold invites delete ann@example.org")
def delete_invite(invite: InviteArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Take an invitation back that was not accepted yet."""
    asyncio.run(_delete(home_of(home), invite, as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await every(control, INVITES)
    if as_json:
        print_json({"object": "list", "data": found})
        return
    rows = [
        (
            each["id"],
            each["email"],
            each["role"],
            each["status"],
            at_time(each["created_at"]),
            at_time(each["expires_at"]),
        )
        for each in found
    ]
    print_table(("id", "e-mail", "role", "status", "created", "ends"), rows)


async def _create(home: Path, email: str, role: InvitedRole, projects: list[str], *, as_json: bool) -> None:
    async with open_control(home) as control:
        into = [{"id": await project_id(control, name), "role": "member"} for name in projects]
        body = {"email": email, "role": role.value, "projects": into}
        invite = await control.request("POST", INVITES, body)
        link = await control.request("POST", f"{INVITES}/{quote(invite['id'], safe='')}/link")
        _print_link({**invite, "link": link}, link, as_json=as_json)


async def _link(home: Path, wanted: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await _find(control, wanted)
        link = await control.request("POST", f"{INVITES}/{quote(found['id'], safe='')}/link")
        _print_link(link, link, as_json=as_json)


async def _delete(home: Path, wanted: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await _find(control, wanted)
        answer = await control.request("DELETE", f"{INVITES}/{quote(found['id'], safe='')}")
    if as_json:
        print_json(answer)
    else:
        print(f"deleted {found['id']} ({found['email']})")


async def _find(control: Control, wanted: str) -> dict[str, Any]:
    """The invitation of that id or, of those that can still be accepted, for that address."""
    every_invite = await every(control, INVITES)
    email = wanted.strip().lower()
    found = [each for each in every_invite if each["id"] == wanted] or [
        each for each in every_invite if each["email"] == email and each["status"] == "pending"
    ]
    if not found:
        raise NotFound(f"there is no invitation '{wanted}' that can be accepted; 'freehold invites list' shows them")
    return found[0]


def _print_link(told: dict[str, Any], link: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    print(link.get("url") or link["token"])
    print_note(f"For {link['id']}, until {at_time(link['expires_at'])} UTC. Keep it now: it is not shown again.")
