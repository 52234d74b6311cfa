"""`freehold audit log`: who changed what, from the running service."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from freehold.cli.control import open_control
from freehold.cli.moments import moment
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import at_time, print_table

_PAGE = 1000


def show_log(
    event: Annotated[
        list[str] | None, typer.Option("--event", help="Only this event, or family such as 'project.*'. Repeatable.")
    ] = None,
    actor: Annotated[
        list[str] | None,
        typer.Option("--actor", metavar="ID|EMAIL", help="Only by this member or key. Repeatable."),
    ] = None,
    project: Annotated[list[str] | None, typer.Option("--project", metavar="ID", help="Only in this project.")] = None,
    resource: Annotated[list[str] | None, typer.Option("--resource", metavar="ID", help="Only on this object.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From this day or moment on, UTC.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="To the end of this day, or before this moment.")
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many records at most.")] = 100,
    everything: Annotated[
        bool, typer.Option("--all", help="Calls that changed nothing too, such as refused ones.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who changed what, newest first. With --json each record is whole, with the digests of what was changed."""
    given = {
        "event": event,
        "actor": actor,
        "project": project,
        "resource": resource,
        "since": int(moment(since, "--since").timestamp()) if since else None,
        "until": int(moment(until, "--until", last=True).timestamp()) if until else None,
        "everything": "true" if everything else None,
    }
    query = {name: value for name, value in given.items() if value is not None}
    asyncio.run(_show(home_of(home), query, number, as_json=as_json))


async def _show(home: Path, query: dict[str, Any], number: int, *, as_json: bool) -> None:
    found: list[dict[str, Any]] = []
    more = True
    async with open_control(home) as control:
        while more and len(found) < number:
            after = {"after": found[-1]["id"]} if found else {}
            page = {**query, "limit": min(_PAGE, number - len(found)), **after}
            answer = await control.request("GET", f"/admin/audit?{urlencode(page, doseq=True)}")
            found += answer["data"]
            more = answer["has_more"]
    if as_json:
        print_json({"object": "list", "data": found, "has_more": more})
        return
    rows = [
        (
            at_time(record["recorded_at"]),
            record["event"] or f"{record.get('method', '')} {record.get('path', record.get('action', ''))}",
            record.get("resource_id"),
            record.get("resource_project_id"),
            record["principal_name"] or record.get("principal"),
            record.get("key_id") or record.get("auth_method"),
            record.get("status"),
        )
        for record in found
    ]
    print_table(("time", "event", "object", "project", "by", "with", "status"), rows)
    if more:
        print_note("There are more; ask for them with --number, or for less with --since.")
