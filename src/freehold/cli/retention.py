"""`freehold retention`: how long kept content stays."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.tables import print_table
from freehold.errors import InvalidRequest

app = command_group("Set how long kept content stays.", "Example: freehold retention set PROJECT_ID --zero")

ProjectArgument = Annotated[
    str | None, typer.Argument(metavar="[PROJECT_ID]", help="The project's id; without it the whole organization.")
]


class RetentionChoice(StrEnum):
    """How much is kept, as in OpenAI's administration API."""

    ORGANIZATION_DEFAULT = "organization_default"
    NONE = "none"
    MODIFIED_ABUSE_MONITORING = "modified_abuse_monitoring"
    ZERO_DATA_RETENTION = "zero_data_retention"


@app.callback()
def retention() -> None:
    """Set how long kept content stays, of each kind, for a project or the whole organization."""


@app.command("show", epilog="Example: freehold retention show proj-default")
def show_retention(project: ProjectArgument = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what is set, and what holds."""
    asyncio.run(_show(home_of(home), project, as_json=as_json))


@app.command("set", epilog="Example: freehold retention set proj-default --keep answers=3600")
def set_retention(
    project: ProjectArgument = None,
    kind: Annotated[
        RetentionChoice | None, typer.Option("--type", help="How much is kept. [default: what the level above says]")
    ] = None,
    zero: Annotated[bool, typer.Option("--zero", help="Keep nothing: --type zero_data_retention.")] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=SECONDS", help="How long one kind is kept, such as answers=3600; several times."),
    ] = None,
    store: Annotated[
        bool | None,
        typer.Option(
            "--store/--no-store",
            help="Whether chat completions are stored whose requests do not say. [default: what the level above says]",
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set all of it: what is not given is as the level above says. What may not stay any more goes at once."""
    if zero and kind is not None:
        raise InvalidRequest("give --zero or --type, not both")
    body: dict[str, Any] = {"keep_s": dict(_pair(text) for text in keep or [])}
    if zero or kind is not None:
        body["type"] = (RetentionChoice.ZERO_DATA_RETENTION if kind is None else kind).value
    if store is not None:
        body["store"] = store
    asyncio.run(_set(home_of(home), project, body, as_json=as_json))


def _pair(text: str) -> tuple[str, int]:
    name, _, seconds = text.partition("=")
    if not (name and seconds.isascii() and seconds.isdecimal()):
        raise InvalidRequest(f"--keep {text}: write KIND=SECONDS, such as answers=3600")
    return name, int(seconds)


async def _show(home: Path, project: str | None, *, as_json: bool) -> None:
    async with open_control(home) as control:
        _print(await control.request("GET", _path(project)), as_json=as_json)


async def _set(home: Path, project: str | None, body: dict[str, Any], *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("PUT", _path(project), body)
    _print(answer, as_json=as_json)


def _path(project: str | None) -> str:
    inside = "" if project is None else f"/projects/{quote(project, safe='')}"
    return f"/v1/organization{inside}/retention"


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    effective, deleted = answer["effective"], answer.get("deleted", {})
    rows = [
        (kind, "nothing" if effective["zero"] else f"{seconds} s", "set" if kind in answer["keep_s"] else "from above")
        for kind, seconds in effective["keep_s"].items()
    ]
    print(f"{answer['project_id'] or answer['organization_id']}: {answer['type']}")
    print_table(("kind", "kept for", "where from"), rows)
    print(f"chat completions whose requests do not say: {'stored' if effective['store'] else 'not stored'}")
    gone = ", ".join(f"{count} {kind}" for kind, count in deleted.items() if count)
    if gone:
        print(f"deleted: {gone}")
