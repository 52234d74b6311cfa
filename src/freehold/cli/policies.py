"""`freehold policies`: which requests are allowed."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import print_table
from freehold.config import load_settings
from freehold.errors import InvalidRequest

app = command_group("Say which requests are allowed.", "Example: freehold policies apply policies.toml")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The policy's name.")]


@app.callback(invoke_without_command=True)
def policies(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say which requests are allowed. Without a command: list the policies."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold policies list --json")
def list_policies(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the policies that are in force."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("show", epilog="Example: freehold policies show short-answers")
def show_policy(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one policy."""
    asyncio.run(_show(home_of(home), name, as_json=as_json))


@app.command("apply", epilog="Example: freehold policies apply policies.toml")
def apply_policies(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file with [[policy]] and [[case]] blocks.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store the policies of a file, if all its cases come out as expected: all of them or none.

    The cases are run on all policies that would be in force then. They hold from the next request on; policies that the
    file does not name stay.
    """
    asyncio.run(_apply(home_of(home), file, as_json=as_json))


@app.command("delete", epilog="Example: freehold policies delete short-answers")
def delete_policy(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Delete a policy. It no longer holds for the next request."""
    asyncio.run(_delete(home_of(home), name, as_json=as_json))


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/admin/policies")
    if as_json:
        print_json(answer)
        return
    if not answer["data"]:
        print_note("There are no policies, so everything is allowed; 'freehold policies apply' stores some.")
        return
    rows = [
        (found["name"], _for_whom(found["settings"]), _rules(found["settings"]), found["origin"])
        for found in answer["data"]
    ]
    print_table(("name", "applies to", "rules", "origin"), rows)


def _for_whom(settings: dict[str, Any]) -> str:
    applies_to = settings.get("applies_to", {})
    return "; ".join(f"{name} {', '.join(names)}" for name, names in applies_to.items()) or "everybody"


def _rules(settings: dict[str, Any]) -> str:
    told = [
        f"{kind} {which} {', '.join(names)}"
        for kind in ("deployments", "models")
        for which, names in settings.get(kind, {}).items()
    ]
    told += [f"{name} ≤ {value}" for name, value in settings.get("ceilings", {}).items()]
    told += [f"{name} {', '.join(settings[name])}" for name in ("require_filter", "zones") if name in settings]
    return "; ".join(told)


async def _show(home: Path, name: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await control.request("GET", f"/admin/policies/{quote(name, safe='')}")
    if as_json:
        print_json(found)
        return
    print_table(("key", "value"), [("origin", found["origin"]), *_flat(found["settings"])])


def _flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Each key of nested tables with its value."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", ", ".join(value) if isinstance(value, list) else str(value)))
    return rows


async def _apply(home: Path, file: Path, *, as_json: bool) -> None:
    settings = load_settings(file)
    if not settings.policy:
        raise InvalidRequest(f"{file}: there is no [[policy]] to apply")
    body = {
        "policies": [policy.wire() for policy in settings.policy],
        "cases": [case.model_dump(mode="json", exclude_none=True) for case in settings.case],
    }
    async with open_control(home) as control:
        answer = await control.request("PUT", "/admin/policies", body)
    if as_json:
        print_json(answer)
        return
    for found in answer["data"]:
        print(f"{'set' if found['changed'] else 'unchanged':<9}  {found['name']}")
    others = sorted(settings.model_fields_set - {"policy", "case", "policies"})
    if others:
        names = ", ".join(f"[{name}]" for name in others)
        print_note(f"note: {names} in {file} is for 'freehold serve --config' and is not applied")


async def _delete(home: Path, name: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("DELETE", f"/admin/policies/{quote(name, safe='')}")
    if as_json:
        print_json(answer)
    else:
        print(f"deleted: {name}")
