"""`freehold limits`: what callers may use."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.keys import find_key
from freehold.cli.lazy import command_group
from freehold.cli.listing import project_meant
from freehold.cli.options import HomeOption, JsonOption, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import print_table
from freehold.errors import NotFound
from freehold.types.limits import EVERY, LIMITED, Scope

app = command_group(
    "Set budgets and rate limits.", "Example: freehold limits set project proj-default --budget-per-month 25.00"
)

ScopeArgument = Annotated[Scope, typer.Argument(help="On what the limit is set.")]
IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Whose: an id, the name of a key, a project or an end user, or '*' for each one."
    ),
]


@app.callback(invoke_without_command=True)
def limits(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Set budgets and rate limits. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold limits list --json")
def list_limits(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the limits, and what is used of each now. Days and months are those of UTC."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("set", epilog="Example: freehold limits set key billing-app --requests-per-minute 60")
def set_limit(
    scope: ScopeArgument,
    limit_id: IdArgument,
    requests_per_minute: Annotated[int | None, typer.Option(min=0, help="Requests per minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=0, help="Tokens per minute.")] = None,
    concurrent_requests: Annotated[int | None, typer.Option(min=0, help="Requests at a time.")] = None,
    budget_per_day: Annotated[str | None, typer.Option(metavar="AMOUNT", help='Money a day, such as "2.50".')] = None,
    budget_per_month: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Money a month.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set all limits of one subject: those that are not given are none. They hold at once."""
    given = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrent_requests": concurrent_requests,
        "budget_per_day": budget_per_day,
        "budget_per_month": budget_per_month,
    }
    body = {name: value for name, value in given.items() if value is not None}
    asyncio.run(_set(home_of(home), scope, limit_id, body, as_json=as_json))


@app.command("remove", epilog="Example: freehold limits remove key billing-app")
def remove_limit(
    scope: ScopeArgument, limit_id: IdArgument, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Remove all limits of one subject; those of '*' hold again where there are some."""
    asyncio.run(_remove(home_of(home), scope, limit_id, as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/admin/limits")
    if as_json:
        print_json(answer)
        return
    if not answer["data"]:
        print_note("There are no limits; 'freehold limits set' sets one.")
        return
    rows = [
        (limit["scope"], limit["id"], name.replace("_", " "), limit[name], *_use(limit, name), limit["origin"])
        for limit in answer["data"]
        for name in LIMITED
        if name in limit
    ]
    print_table(("scope", "id", "limit", "amount", "used", "reserved", "origin"), rows)


def _use(limit: dict[str, Any], name: str) -> tuple[str, str]:
    """What is used and, of money, reserved for requests that run; nothing for a limit of each one by itself."""
    used = limit["used"]
    if used is None:
        return "", ""
    return str(used[name]), str(used.get(f"{name}_reserved", ""))


async def _set(home: Path, scope: Scope, limit_id: str, body: dict[str, Any], *, as_json: bool) -> None:
    async with open_control(home) as control:
        subject = await _id_of(control, scope, limit_id)
        answer = await control.request("PUT", "/admin/limits", {"scope": scope.value, "id": subject, **body})
    if as_json:
        print_json(answer)
    else:
        print(f"{'set' if answer['changed'] else 'unchanged'}: {scope.value} {subject}")


async def _remove(home: Path, scope: Scope, limit_id: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        try:
            subject = await _id_of(control, scope, limit_id)
        except NotFound:  # its limits may have outlived it
            subject = limit_id
        answer = await control.request("DELETE", f"/admin/limits/{scope.value}/{quote(subject, safe='')}")
    if as_json:
        print_json(answer)
    else:
        print(f"removed: {scope.value} {subject}")


async def _id_of(control: Control, scope: Scope, wanted: str) -> str:
    """The id that is meant: projects and keys may be called by their names. Nothing would be limited by a wrong one.

    Raises:
        NotFound: nothing is called so.
        Conflict: several are.
    """
    if scope is Scope.PROJECT_DEPLOYMENT:
        project, slash, deployment = wanted.partition("/")
        return wanted if not slash else await _id_of(control, Scope.PROJECT, project) + slash + deployment
    if wanted == EVERY or scope not in {Scope.PROJECT, Scope.KEY}:
        return wanted
    if scope is Scope.PROJECT:
        return await project_meant(control, wanted)
    return str((await find_key(control, wanted))["id"])
