"""`freehold apply`: make the deployments what a file says."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ErrorAnswer, print_json, print_note
from freehold.config import Settings, load_settings, parse_settings
from freehold.engines.auto import check as check_engine
from freehold.errors import ConfigError
from freehold.types.deployment import DeploymentSettings, Origin

app = command_group()

_EPILOG = """\b
Example:
  freehold apply deployments.toml --dry-run
  freehold apply deployments.toml

\b
where deployments.toml holds, for instance:
  [[deployment]]
  name = "chat"
  model = "smollm2-135m-instruct"
  aliases = ["gpt-4o"]"""


class Change(StrEnum):
    """What was, or would be, done to a deployment."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Step:
    """One deployment and what is to be done to it; `settings` is None for a deletion."""

    name: str
    change: Change
    settings: DeploymentSettings | None = None


@app.command(epilog=_EPILOG)
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file with [[deployment]] blocks.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete deployments that the file does not name, starter ones too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and do nothing.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create and change deployments until they are what a file says. Doing it again changes nothing.

    The whole file is checked before anything is done. Deployments of the server's own configuration file are
    never touched.
    """
    settings = _checked(file)
    steps = asyncio.run(_apply(home_of(home), settings.deployment, prune=prune, dry_run=dry_run))
    if as_json:
        data = [{"name": step.name, "change": step.change.value} for step in steps]
        print_json({"object": "list", "dry_run": dry_run, "data": data})
        return
    for step in steps:
        print(f"{step.change.value:<9}  {step.name}")
    if dry_run:
        print_note("This was a dry run: nothing has been done.")


def _checked(file: Path) -> Settings:
    """The file's settings, if every deployment in it can be.

    Raises:
        ConfigError: names the file's offending key.
    """
    settings = load_settings(file)
    for index, deployment in enumerate(settings.deployment):
        try:
            check_engine(deployment)
        except ConfigError as exc:
            raise ConfigError(f"deployment[{index}].{exc.message}", param=exc.param) from exc
    others = sorted(settings.model_fields_set - {"deployment"})
    if others:
        names = ", ".join(f"[{name}]" for name in others)
        print_note(f"note: {names} in {file} is for 'freehold serve --config' and is not applied")
    return settings


async def _apply(home: Path, wanted: list[DeploymentSettings], *, prune: bool, dry_run: bool) -> list[Step]:
    """Do what is to be done, and tell it."""
    async with open_control(home) as control:
        existing = (await control.request("GET", "/admin/deployments"))["data"]
        steps = _plan(existing, wanted, prune=prune)
        if not dry_run:
            await _carry_out(control, [step for step in steps if step.change is not Change.UNCHANGED])
    return steps


def _plan(existing: Iterable[dict[str, Any]], wanted: list[DeploymentSettings], *, prune: bool) -> list[Step]:
    """What leads from the existing deployments to the wanted ones."""
    before = {found["name"]: found for found in existing}
    steps = [Step(settings.name, _change(before.get(settings.name), settings), settings) for settings in wanted]
    if prune:
        kept = {settings.name for settings in wanted}
        steps += [
            Step(name, Change.DELETED)
            for name, found in before.items()
            if name not in kept and found["origin"] != Origin.CONFIG
        ]
    return steps


def _change(found: dict[str, Any] | None, settings: DeploymentSettings) -> Change:
    if found is None:
        return Change.CREATED
    same = parse_settings(found["settings"], DeploymentSettings) == settings
    return Change.UNCHANGED if same else Change.CHANGED


async def _carry_out(control: Control, steps: list[Step]) -> None:
    """Do the steps, in rounds: a fallback must exist before it is named, an alias be given up before it is taken.

    Raises:
        ErrorAnswer: the first refusal of a round in which nothing could be done.
    """

    async def do(step: Step) -> None:
        path = f"/admin/deployments/{quote(step.name, safe='')}"
        if step.settings is None:
            await control.request("DELETE", path)
        else:
            await control.request("PUT", path, step.settings.wire())

    while steps:
        refused = [(step, error) for step in steps if (error := await _refusal(do, step)) is not None]
        if len(refused) == len(steps):
            raise refused[0][1]
        steps = [step for step, _ in refused]


async def _refusal(do: Callable[[Step], Awaitable[None]], step: Step) -> ErrorAnswer | None:
    """Do a step; the error if it cannot be done as things stand."""
    try:
        await do(step)
    except ErrorAnswer as exc:
        if exc.http_status in {400, 409}:
            return exc
        raise
    return None
