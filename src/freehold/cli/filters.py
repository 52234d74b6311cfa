"""`freehold filter`: what is looked for in texts, and what becomes of what is found."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import LazyCommand, LazyGroup, command_group
from freehold.cli.listing import project_id
from freehold.cli.options import HomeOption, JsonOption, home_of, pass_on
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import print_table
from freehold.config import load_settings
from freehold.errors import InvalidRequest
from freehold.types.content_filter import DEFAULT_FILTER, Category, FilterSettings, Side, Source

app = command_group("Say what is looked for in texts.", "Example: freehold filter apply filters.toml")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The policy's name.")]


class Commands(LazyGroup):
    """The commands of this file, and one that computes more than the others."""

    lazy = (
        LazyCommand(
            "evaluate",
            "Report how well the n-gram classifier tells harmful texts: AUPRC, precision, recall, over-blocking.",
            "freehold.cli.filter_evaluate:app",
        ),
    )


@app.callback(cls=Commands, invoke_without_command=True)
def filters(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say what is looked for in texts. Without a command: list the content-filter policies."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold filter list --json")
def list_filters(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the content-filter policies, and the deployments that use each."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("show", epilog="Example: freehold filter show default")
def show_filter(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one policy with everything that it says, defaults included."""
    asyncio.run(_show(home_of(home), name, as_json=as_json))


@app.command("apply", epilog="Example: freehold filter apply filters.toml")
def apply_filters(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A TOML file with [[content_filter]] and [[blocklist]] blocks.")
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store the policies and blocklists of a file: all of them or none.

    They hold from the next request on; those that the file does not name stay.
    """
    asyncio.run(_apply(home_of(home), file, as_json=as_json))


@app.command("delete", epilog="Example: freehold filter delete strict")
def delete_filter(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Delete a policy that no deployment uses. Deleting a replacement of 'default' brings the built-in one back."""
    asyncio.run(_delete(home_of(home), name, as_json=as_json))


@app.command("test", epilog="Example: freehold filter test 'write to ana@example.org' --policy strict")
def try_text(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text, or - for standard input.")],
    policy: Annotated[str, typer.Option("--policy", "-p", metavar="NAME", help="The policy.")] = DEFAULT_FILTER,
    side: Annotated[Side, typer.Option(help="Whether it is a prompt or a completion.")] = Side.PROMPT,
    source: Annotated[
        Source | None, typer.Option(help="Who wrote it. [default: user of a prompt, assistant of a completion]")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="A project's id or name, whose lists hold too.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a policy finds in a text, and what would become of it. The text is kept nowhere."""
    body: dict[str, Any] = {"text": sys.stdin.read() if text == "-" else text, "side": side.value}
    if source is not None:
        body["source"] = source.value
    asyncio.run(_test(home_of(home), policy, body, project, as_json=as_json))


def _path(name: str) -> str:
    return f"/admin/content_filters/{quote(name, safe='')}"


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/admin/content_filters")
    if as_json:
        print_json(answer)
        return
    rows = []
    for found in answer["data"]:
        settings = FilterSettings.model_validate(found["settings"])
        rows.append(
            (
                settings.name,
                *(_blocked(settings, side) for side in Side),
                settings.mode,
                settings.on_error,
                ", ".join(found["deployments"]),
                found["origin"],
            )
        )
    print_table(("name", "blocks in prompts", "in completions", "mode", "on error", "deployments", "origin"), rows)


def _blocked(settings: FilterSettings, side: Side) -> str:
    """What a policy blocks or masks on one side, in short."""
    told: dict[str, list[str]] = {}
    for category in Category:
        rule = settings.rule(category, side)
        if rule.action == "block":
            told.setdefault(rule.threshold, []).append(category.value)
    parts = [
        f"{'all' if len(names) == len(Category) else ', '.join(names)} from {threshold}"
        for threshold, names in told.items()
    ]
    if side is Side.PROMPT:
        parts += [name for name in ("jailbreak", "indirect_attack") if getattr(settings, name) == "block"]
    for name in ("personal_data", "secrets"):
        action = getattr(getattr(settings, name), side.value)
        if action in {"block", "mask"}:
            parts.append(f"{name} (masked)" if action == "mask" else name)
    parts += [f"list {name}" for name in settings.blocklists]
    return "; ".join(parts) or "nothing"


async def _show(home: Path, name: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await control.request("GET", _path(name))
    if as_json:
        print_json(found)
        return
    settings = FilterSettings.model_validate(found["settings"])
    rows = [("origin", found["origin"]), ("deployments", ", ".join(found["deployments"]))]
    print_table(("key", "value"), rows + _flat(settings.model_dump(mode="json")))


def _flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Each key of nested tables with its value; what is not set is left out."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        elif value not in (None, "", []):
            told = str(value).lower() if isinstance(value, bool) else str(value)
            rows.append((f"{prefix}{name}", ", ".join(value) if isinstance(value, list) else told))
    return rows


async def _apply(home: Path, file: Path, *, as_json: bool) -> None:
    settings = load_settings(file)
    if not settings.content_filter and not settings.blocklist:
        raise InvalidRequest(f"{file}: there is no [[content_filter]] and no [[blocklist]] to apply")
    body = {
        "content_filters": [policy.wire() for policy in settings.content_filter],
        "blocklists": [each.wire() for each in settings.blocklist],
    }
    async with open_control(home) as control:
        answer = await control.request("PUT", "/admin/content_filters", body)
    if as_json:
        print_json(answer)
        return
    for found in answer["data"]:
        kind = "policy" if found["object"] == "content_filter" else "blocklist"
        print(f"{'set' if found['changed'] else 'unchanged':<9}  {kind:<9}  {found['name']}")
    others = sorted(settings.model_fields_set - {"content_filter", "blocklist"})
    if others:
        names = ", ".join(f"[{name}]" for name in others)
        print_note(f"note: {names} in {file} is for 'freehold serve --config' and is not applied")


async def _delete(home: Path, name: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("DELETE", _path(name))
    if as_json:
        print_json(answer)
    else:
        print(f"deleted: {name}")
        if name == DEFAULT_FILTER:
            print_note("The built-in policy 'default' holds again.")


async def _test(home: Path, policy: str, body: dict[str, Any], project: str | None, *, as_json: bool) -> None:
    async with open_control(home) as control:
        if project is not None:
            body["project_id"] = await project_id(control, project)
        answer = await control.request("POST", f"{_path(policy)}/test", body)
    if as_json:
        print_json(answer)
        return
    rows = [(category, severity) for category, severity in answer["severities"].items()]
    rows += [(shield, "detected") for shield in answer["shields"]]
    rows += [(f"{span['kind']}: {span['name']}", body["text"][span["start"] : span["end"]]) for span in answer["spans"]]
    print_table(("what", "found"), rows)
    print()
    if not answer["detectors"]:
        print(f"not examined: the policy looks for nothing in a {answer['side']}")
    elif answer["blocked"]:
        print(f"blocked: {', '.join(answer['blocked'])}")
    elif answer["masked"]:
        print(f"passes as: {answer['text']}")
    else:
        print("passes")
