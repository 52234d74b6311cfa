"""`freehold blocklists`: terms and patterns that are looked for in texts."""

import asyncio
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.listing import project_id
from freehold.cli.options import HomeOption, JsonOption, home_of, pass_on
from freehold.cli.output import ErrorAnswer, print_json, print_note
from freehold.cli.tables import print_table
from freehold.errors import Conflict, InvalidRequest


class ListAction(StrEnum):
    """What becomes of a text with an item of the list."""

    BLOCK = "block"
    ANNOTATE = "annotate"


app = command_group("Keep lists of terms that are looked for.", "Example: freehold blocklists add secrets 'red falcon'")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The list's name.")]
TermsArgument = Annotated[list[str], typer.Argument(metavar="TERM...", help="Terms, or with --pattern patterns.")]
PatternOption = Annotated[bool, typer.Option("--pattern", help="They are regular expressions of RE2's syntax.")]
ProjectOption = Annotated[
    str | None,
    typer.Option(
        metavar="PROJECT", help="A new list is this project's own, by its id or name, and holds for its requests."
    ),
]
ActionOption = Annotated[
    ListAction | None, typer.Option(help="What becomes of a text with one of them. [default for a new list: block]")
]


@app.callback(invoke_without_command=True)
def blocklists(ctx: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Keep lists of terms that are looked for in texts. Without a command: list them."""
    pass_on(ctx, home, as_json=as_json)
    if ctx.invoked_subcommand is None:
        asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("list", epilog="Example: freehold blocklists list --json")
def list_blocklists(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the blocklists, and the policies that name each."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("show", epilog="Example: freehold blocklists show codenames")
def show_blocklist(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one list with its items."""
    asyncio.run(_show(home_of(home), name, as_json=as_json))


@app.command("add", epilog="Example: freehold blocklists add codenames 'red falcon' bananaphone --project research")
def add_items(
    name: NameArgument,
    terms: TermsArgument,
    pattern: PatternOption = False,
    project: ProjectOption = None,
    action: ActionOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add items to a list; it is made if it is not there. They hold from the next request on.

    A list without a project holds for whoever uses a policy that names it.
    """
    asyncio.run(_add(home_of(home), name, _items(terms, pattern=pattern), project, action, as_json=as_json))


@app.command("remove", epilog="Example: freehold blocklists remove codenames 'red falcon'")
def remove_items(
    name: NameArgument,
    terms: TermsArgument,
    pattern: PatternOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take items off a list."""
    asyncio.run(_remove(home_of(home), name, _items(terms, pattern=pattern), as_json=as_json))


@app.command("import", epilog="Example: freehold blocklists import codenames codenames.txt")
def import_items(
    name: NameArgument,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A text file with one item a line, or - for standard input.")
    ],
    pattern: PatternOption = False,
    project: ProjectOption = None,
    action: ActionOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add the items of a file to a list, all or none. Empty lines and those that begin with # are left out."""
    lines = [line.strip() for line in _read(file).splitlines()]
    terms = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not terms:
        raise InvalidRequest(f"{file}: there is no item in it")
    asyncio.run(_add(home_of(home), name, _items(terms, pattern=pattern), project, action, as_json=as_json))


@app.command("delete", epilog="Example: freehold blocklists delete codenames")
def delete_blocklist(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Delete a list that no policy names, with its items."""
    asyncio.run(_delete(home_of(home), name, as_json=as_json))


def _items(terms: Sequence[str], *, pattern: bool) -> list[dict[str, str]]:
    return [{"pattern" if pattern else "term": term} for term in terms]


def _read(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as exc:
        raise InvalidRequest(f"{file}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidRequest(f"{file}: is not UTF-8 text") from exc


def _path(name: str) -> str:
    return f"/admin/blocklists/{quote(name, safe='')}"


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/admin/blocklists")
    if as_json:
        print_json(answer)
        return
    if not answer["data"]:
        print_note("There are no blocklists; 'freehold blocklists add NAME TERM' makes one.")
        return
    rows = []
    for found in answer["data"]:
        settings = found["settings"]
        whose = f"project {settings['project']}" if "project" in settings else ", ".join(found["policies"]) or "nobody"
        actions = [settings.get(side, "block") for side in ("prompt", "completion")]
        rows.append((found["name"], found["item_count"], *actions, whose, found["origin"]))
    print_table(("name", "items", "in prompts", "in completions", "holds for", "origin"), rows)


async def _show(home: Path, name: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        found = await control.request("GET", _path(name))
    if as_json:
        print_json(found)
        return
    kinds = [("term" if "term" in item else "pattern") for item in found["settings"].get("items", [])]
    rows = [
        (kind, item[kind], item.get("description", ""))
        for kind, item in zip(kinds, found["settings"].get("items", []), strict=True)
    ]
    print_table(("kind", "item", "description"), rows)


async def _add(
    home: Path,
    name: str,
    items: list[dict[str, str]],
    project: str | None,
    action: ListAction | None,
    *,
    as_json: bool,
) -> None:
    async with open_control(home) as control:
        wanted = await project_id(control, project) if project is not None else None
        known = await _known(control, name)
        if known is None:
            settings: dict[str, Any] = {"name": name, "items": items}
            if wanted is not None:
                settings["project"] = wanted
            await control.request("PUT", _path(name), _with_action(settings, action))
            added = len(items)
        else:
            if wanted is not None and known.get("project") != wanted:
                whose = f"the project {known['project']}'s" if "project" in known else "for whoever names it"
                raise Conflict(f"the list '{name}' is there already, and is {whose}; choose another name")
            if action is not None and _with_action(known, action) != known:
                await control.request("PUT", _path(name), _with_action(known, action))
            added = (await control.request("POST", f"{_path(name)}/items", {"items": items}))["added"]
        answer = await control.request("GET", _path(name))
    if as_json:
        print_json({**answer, "added": added})
        return
    print(f"{'made' if known is None else 'added to'}: {name} ({added} new, {answer['item_count']} in all)")
    if "project" not in answer["settings"] and not answer["policies"]:
        print_note(f"note: no policy names '{name}' yet, so it holds for nobody; see 'freehold filter --help'")


def _with_action(settings: dict[str, Any], action: ListAction | None) -> dict[str, Any]:
    """A list's settings with the same action for prompts and completions."""
    if action is None:
        return settings
    others = {key: value for key, value in settings.items() if key not in {"prompt", "completion"}}
    return others if action is ListAction.BLOCK else {**others, "prompt": action.value, "completion": action.value}


async def _known(control: Control, name: str) -> dict[str, Any] | None:
    """A list's settings; None if there is none of that name."""
    try:
        found = await control.request("GET", _path(name))
    except ErrorAnswer as exc:
        if exc.http_status == 404:
            return None
        raise
    settings: dict[str, Any] = found["settings"]
    return settings


async def _remove(home: Path, name: str, items: list[dict[str, str]], *, as_json: bool) -> None:
    async with open_control(home) as control:
        for item in items:
            answer = await control.request("DELETE", f"{_path(name)}/items?{urlencode(item)}")
    if as_json:
        print_json(answer)
    else:
        print(f"removed from: {name} ({len(items)} gone, {answer['item_count']} left)")


async def _delete(home: Path, name: str, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("DELETE", _path(name))
    if as_json:
        print_json(answer)
    else:
        print(f"deleted: {name}")
