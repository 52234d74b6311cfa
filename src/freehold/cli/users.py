"""`freehold users`: the people of the organization, and how they sign in."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import at_time, print_table
from freehold.errors import InvalidRequest, NotFound

app = command_group("Make, list and disable users.", "Example: freehold users create ann@example.org --role user")

_PAGE = 100
UserArgument = Annotated[str, typer.Argument(metavar="EMAIL|ID", help="The user's address or id.")]


@app.callback(invoke_without_command=True)
def users(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make, list and disable users. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold users list --json")
def list_users(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the organization's users."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("create", epilog="Example: freehold users create ann@example.org --role owner --password")
def create_user(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The person's address.")],
    name: Annotated[str, typer.Option(help="What they are called. [default: the address]")] = "",
    role: Annotated[str, typer.Option(help="Their role in the organization.")] = "user",
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password, or read it from standard input.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a user. Without --password, print a link with which the person sets one."""
    given = _read_password() if password else None
    asyncio.run(_create(home_of(home), email, name, role, given, as_json=as_json))


@app.command("invite", epilog="Example: freehold users invite ann@example.org")
def invite_user(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The person's address.")],
    role: Annotated[str, typer.Option(help="reader or owner.")] = "reader",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Invite somebody, and print the link with which they accept; it holds for seven days and works once."""
    asyncio.run(_invite(home_of(home), email, role, as_json=as_json))


@app.command("passwd", epilog="Example: freehold users passwd ann@example.org")
def set_password(
    user: UserArgument,
    link: Annotated[
        bool, typer.Option("--link", help="Print a link with which the person sets it, instead of asking for it.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a user's password, read from the terminal or from standard input. Their sessions end."""
    given = None if link else _read_password()
    asyncio.run(_passwd(home_of(home), user, given, as_json=as_json))


@app.command("disable", epilog="Example: freehold users disable ann@example.org")
def disable_user(user: UserArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Disable a user: within a second keys, tokens and sessions open nothing, and running requests end."""
    asyncio.run(_able(home_of(home), user, "disable", as_json=as_json))


@app.command("enable", epilog="Example: freehold users enable ann@example.org")
def enable_user(user: UserArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let a disabled user in again."""
    asyncio.run(_able(home_of(home), user, "enable", as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = [user async for user in _all(control)]
    if as_json:
        print_json({"object": "list", "data": found})
        return
    rows = [
        (user["id"], user["email"], user["name"], user["role"] or "-", _state(user), at_time(user["added_at"]))
        for user in found
    ]
    print_table(("id", "e-mail", "name", "role", "state", "added"), rows)


async def _create(home: Path, email: str, name: str, role: str, password: str | None, *, as_json: bool) -> None:
    body = {"email": email, "name": name, "role": role} | ({} if password is None else {"password": password})
    async with open_control(home) as control:
        user = await control.request("POST", "/v1/organization/users", body)
        link = None if password is not None else await _link(control, user["id"])
        if as_json:
            print_json(user if link is None else {**user, "password_link": link})
            return
        print_note(f"User {user['id']} ({user['email']}, {role}).")
        _print_link(link, "to set a password, within a day and once")


async def _invite(home: Path, email: str, role: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        invite = await control.request("POST", "/v1/organization/invites", {"email": email, "role": role})
        made = await control.request("POST", f"/v1/organization/invites/{invite['id']}/link")
        link = _address(control, made["url"])
    if as_json:
        print_json({**invite, "link": link})
    else:
        _print_link(link, "to accept the invitation, within seven days and once")


async def _passwd(home: Path, wanted: str, password: str | None, *, as_json: bool) -> None:
    async with open_control(home) as control:
        user = await _find(control, wanted)
        if password is None:
            link = await _link(control, user["id"])
            if as_json:
                print_json({**user, "password_link": link})
            else:
                _print_link(link, "to set a password, within a day and once")
            return
        answer = await control.request("POST", f"/v1/organization/users/{user['id']}/password", {"password": password})
    if as_json:
        print_json(answer)
    else:
        print(f"set the password of {user['email']}; sessions from before have ended")


async def _able(home: Path, wanted: str, what: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        user = await _find(control, wanted)
        answer = await control.request("POST", f"/v1/organization/users/{user['id']}/{what}")
    if as_json:
        print_json(answer)
    else:
        print(f"{what}d {user['email']}")


async def _all(control: Control) -> AsyncIterator[dict[str, Any]]:
    """Every user, page by page."""
    after = ""
    while True:
        query = urlencode({"limit": _PAGE} | ({"after": after} if after else {}))
        answer = await control.request("GET", f"/v1/organization/users?{query}")
        for user in answer["data"]:
            yield user
        if not answer["has_more"]:
            return
        after = answer["last_id"]


async def _find(control: Control, wanted: str) -> dict[str, Any]:
    """The user of an address or an id."""
    if "@" not in wanted:
        return await control.request("GET", f"/v1/organization/users/{quote(wanted, safe='')}")
    query = urlencode({"emails": wanted})
    found = (await control.request("GET", f"/v1/organization/users?{query}"))["data"]
    if not found:
        raise NotFound(f"there is no user with the address '{wanted}'; 'freehold users list' shows them")
    user: dict[str, Any] = found[0]
    return user


async def _link(control: Control, user_id: str) -> str:
    made = await control.request("POST", f"/v1/organization/users/{user_id}/password_link")
    return _address(control, made["url"])


def _address(control: Control, url: str) -> str:
    """The link as somebody can follow it; where no server runs, nobody knows more than its path."""
    return url.removeprefix(control.url) if control.url == "http://localhost" else url


def _print_link(link: str | None, what: str) -> None:
    if link is not None:
        print(link)
        print_note(f"A link {what}. Whoever has it can use it: send it on a safe way.")


def _read_password() -> str:
    """A password from the terminal, typed twice, or the first line of standard input.

    Raises:
        InvalidRequest: there is none.
    """
    if sys.stdin.isatty():
        typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise InvalidRequest("there is no password on standard input")
    return line


def _state(user: dict[str, Any]) -> str:
    return "enabled" if user["user"]["enabled"] else "disabled"
