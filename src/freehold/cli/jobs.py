"""`freehold jobs`: work that goes on without its request. Batches are the one kind there is."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote, urlencode

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.tables import at_time, print_table
from freehold.types.batches import BATCH_ENDED

app = command_group("List, show and cancel jobs.", "Example: freehold jobs list --active")

BATCHES = "/v1/batches"
_PAGE = 100

JobArgument: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="The id of a batch.")]


@app.callback()
def jobs() -> None:
    """List, show and cancel what works on without its request: the batches of the credential's project."""


@app.command("list", epilog="Example: freehold jobs list --active")
def list_jobs(
    active: Annotated[bool, typer.Option("--active", help="Only those that have not ended.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    asyncio.run(_list(home_of(home), active=active, as_json=as_json))


@app.command("show", epilog="Example: freehold jobs show batch_0123456789abcdef01234567")
def show_job(job: JobArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show a job: how far it is, what is wrong with its input, and where its answers are."""
    _print(asyncio.run(_ask(home_of(home), "GET", _path(job))), as_json=as_json)


@app.command("cancel", epilog="Example: freehold jobs cancel batch_0123456789abcdef01234567")
def cancel_job(job: JobArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Have a job end soon; what is done stays done."""
    _print(asyncio.run(_ask(home_of(home), "POST", f"{_path(job)}/cancel")), as_json=as_json)


def _path(job: str) -> str:
    return f"{BATCHES}/{quote(job, safe='')}"


async def _ask(home: Path, method: str, path: str) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request(method, path)


async def _list(home: Path, *, active: bool, as_json: bool) -> None:
    async with open_control(home) as control:
        found = [each for each in await _every(control) if not active or each["status"] not in BATCH_ENDED]
    if as_json:
        print_json({"data": found})
        return
    rows = [
        (each["id"], "batch", each["status"], _done(each), each.get("model"), at_time(each["created_at"]))
        for each in found
    ]
    print_table(("id", "kind", "status", "done", "model", "created"), rows)


async def _every(control: Control) -> list[dict[str, Any]]:
    """All batches that the credential may see."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        after = {"after": found[-1]["id"]} if found else {}
        answer = await control.request("GET", f"{BATCHES}?{urlencode({'limit': _PAGE, **after})}")
        found += answer["data"]
        more = answer["has_more"]
    return found


def _done(batch: dict[str, Any]) -> str:
    """How many lines are done, of how many, and how many of these failed."""
    counts = batch["request_counts"]
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    return f"{counts['completed'] + counts['failed']} of {counts['total']}{failed}"


def _print(batch: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(batch)
        return
    rows = [
        ("id", batch["id"]),
        ("status", batch["status"]),
        ("endpoint", batch["endpoint"]),
        ("model", batch.get("model")),
        ("done", _done(batch)),
        ("tokens", batch["usage"]["total_tokens"]),
        ("created", at_time(batch["created_at"])),
        ("ends by", at_time(batch["expires_at"])),
        ("input", batch["input_file_id"]),
        ("output", batch.get("output_file_id")),
        ("errors", batch.get("error_file_id")),
    ]
    print_table(("what", "value"), rows)
    problems = batch.get("errors", {}).get("data", [])
    if problems:
        print_table(("line", "code", "message"), [(each["line"], each["code"], each["message"]) for each in problems])
