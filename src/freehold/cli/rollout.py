"""`freehold deployments promote` and `canary`: another model for a deployment, or for a share of it."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json, print_note, visible
from freehold.cli.tables import print_table

DeploymentArgument: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The deployment's name.")]

canary = command_group("Give another model a share of the requests.", "Example: freehold deployments canary show chat")


def promote(
    name: DeploymentArgument,
    to: Annotated[str, typer.Option("--to", metavar="MODEL", help="The model that it changes to.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell whether it may, and do nothing; exit with 1 if it may not.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a deployment's model, if its evaluations satisfy `promote_if`."""
    body = {"model": to, "dry_run": dry_run}
    found = asyncio.run(_call(home_of(home), "POST", f"{_path(name)}/promote", body))
    if as_json:
        print_json(found)
    else:
        for comparison in found["comparisons"]:
            print(visible(f"{'yes' if comparison['holds'] else 'no':<4} {comparison['told']}"))
        done = f"{name} changed from {found['from']} to {found['to']}"
        print(done if not dry_run else f"{name} may {'' if found['allowed'] else 'not '}change to {found['to']}")
        if dry_run:
            print_note("This was a dry run: nothing has been done.")
    raise typer.Exit(ExitCode.FINE if found["allowed"] else ExitCode.FAILED)


@canary.command("begin", epilog="Example: freehold deployments canary begin chat --to new --share 0.1")
def begin(
    name: DeploymentArgument,
    to: Annotated[str, typer.Option("--to", metavar="MODEL", help="The candidate.")],
    share: Annotated[float, typer.Option(help="The share of callers that it serves, between 0 and 1.")],
    rollback_if: Annotated[
        str | None,
        typer.Option(metavar="CONDITION", help="When it is given up, such as 'errors > base + 0.05'."),
    ] = None,
    min_requests: Annotated[int | None, typer.Option(help="Conclude nothing from fewer. [default: 20]")] = None,
    window_s: Annotated[
        float | None, typer.Option("--window", metavar="SECONDS", help="Look back so far. [default: 300]")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a candidate a share of the requests; whoever has it keeps it."""
    given = {
        "model": to,
        "share": share,
        "rollback_if": rollback_if,
        "min_requests": min_requests,
        "window_s": window_s,
    }
    body = {key: value for key, value in given.items() if value is not None}
    found = asyncio.run(_call(home_of(home), "POST", f"{_path(name)}/canary", body))
    _tell(found, f"{name}: {100 * share:g} % of the callers are served by {to}", as_json=as_json)


@canary.command("show", epilog="Example: freehold deployments canary show chat")
def show(name: DeploymentArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show how a canary fares."""
    found = asyncio.run(_call(home_of(home), "GET", f"{_path(name)}/canary"))
    if as_json:
        print_json(found)
        return
    print(f"{name}: {found['settings']['model']} {'runs' if found['running'] else 'was given up'}")
    columns = ("requests", "errors", "latency_p50")
    print_table(("arm", *columns), [[arm, *map(numbers.get, columns)] for arm, numbers in found["arms"].items()])


@canary.command("finish", epilog="Example: freehold deployments canary finish chat")
def finish(name: DeploymentArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Have the candidate become the deployment's model, if `promote_if` holds."""
    found = asyncio.run(_call(home_of(home), "POST", f"{_path(name)}/canary/finish", {}))
    _tell(found, f"{name} is served by {found['settings']['model']} now", as_json=as_json)


@canary.command("stop", epilog="Example: freehold deployments canary stop chat")
def stop(name: DeploymentArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Have the candidate get no more requests."""
    found = asyncio.run(_call(home_of(home), "DELETE", f"{_path(name)}/canary"))
    _tell(found, f"{name} is served by {found['settings']['model']} alone now", as_json=as_json)


def _tell(found: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print(visible(text))


def _path(name: str) -> str:
    return f"/admin/deployments/{quote(name, safe='')}"


async def _call(home: Path, method: str, path: str, body: Any = None) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request(method, path, body)
