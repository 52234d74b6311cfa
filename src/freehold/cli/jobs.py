"""`freehold jobs`: work that goes on without its request, of every kind."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import quote, urlencode

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.jobs_details import print_details, with_details
from freehold.cli.jobs_log import follow_events
from freehold.cli.jobs_watch import ACTIVE, done_of, state_of, watch_jobs
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json
from freehold.cli.tables import at_time, print_table

app = command_group("List, show, watch, pause and cancel jobs.", "Example: freehold jobs watch")

JOBS: Final = "/v1/jobs"
_PAGE: Final = 100

JobArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help="The id of a job, or of what it is about, such as a batch.")
]


@app.callback()
def jobs() -> None:
    """List, show, watch, pause and cancel what goes on without its request, in the credential's project."""


@app.command("list", epilog="Example: freehold jobs list --active --kind batch")
def list_jobs(
    active: Annotated[bool, typer.Option("--active", help="Only those that have not ended.")] = False,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Only those of a kind.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")] = 100,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    asked = [("state", state) for state in ACTIVE if active] + [("kind", kind) for kind in [kind] if kind]
    found = asyncio.run(_list(home_of(home), asked, limit))
    if as_json:
        print_json({"data": found})
        return
    rows = [
        (_name(each), each["kind"], state_of(each), done_of(each), each.get("error_code"), at_time(each["created_at"]))
        for each in found
    ]
    print_table(("id", "kind", "state", "done", "error", "created"), rows)


@app.command("show", epilog="Example: freehold jobs show batch_0123456789abcdef01234567")
def show_job(job: JobArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show a job: how far it is, and what the API of its kind tells of it.

    Of a batch that is what is wrong with its input and where its answers are; of a fine-tuning job its model, how it
    trains and what was measured last.
    """
    _print(asyncio.run(_shown(home_of(home), job)), as_json=as_json)


@app.command("logs", epilog="Example: freehold jobs logs --follow batch_0123456789abcdef01234567")
def show_log(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what happened to a job, the oldest first; with --json one object a line."""
    asyncio.run(_log(home_of(home), job, follow=follow, as_json=as_json))


@app.command("watch", epilog="Example: freehold jobs watch batch_0123456789abcdef01234567")
def watch(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Jobs, or what they are about. [default: all active]")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Show how jobs go until they have ended; exit with 1 if one of them failed."""
    if not asyncio.run(_watch(home_of(home), ids or [])):
        raise typer.Exit(ExitCode.FAILED)


@app.command("cancel", epilog="Example: freehold jobs cancel batch_0123456789abcdef01234567")
def cancel_job(job: JobArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Have a job end soon; what is done stays done."""
    _print(asyncio.run(_ask(home_of(home), "POST", f"{_path(job)}/cancel")), as_json=as_json)


@app.command("pause", epilog="Example: freehold jobs pause batch_0123456789abcdef01234567")
def pause_job(job: JobArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Have nobody work on a job until it is resumed; what is done stays done."""
    _print(asyncio.run(_ask(home_of(home), "POST", f"{_path(job)}/pause")), as_json=as_json)


@app.command("resume", epilog="Example: freehold jobs resume batch_0123456789abcdef01234567")
def resume_job(job: JobArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let a paused job go on."""
    _print(asyncio.run(_ask(home_of(home), "POST", f"{_path(job)}/resume")), as_json=as_json)


def _path(job: str) -> str:
    return f"{JOBS}/{quote(job, safe='')}"


def _name(job: dict[str, Any]) -> str:
    """By what a person knows a job."""
    return str(job.get("subject") or job["id"])


async def _ask(home: Path, method: str, path: str) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request(method, path)


async def _list(home: Path, asked: list[tuple[str, str]], limit: int) -> list[dict[str, Any]]:
    async with open_control(home) as control:
        return await _every(control, asked, limit)


async def _every(control: Control, asked: list[tuple[str, str]], limit: int) -> list[dict[str, Any]]:
    """The newest jobs that the credential may see."""
    found: list[dict[str, Any]] = []
    more = True
    while more and len(found) < limit:
        page = [*asked, ("limit", str(min(_PAGE, limit - len(found))))]
        page += [("after", found[-1]["id"])] if found else []
        answer = await control.request("GET", f"{JOBS}?{urlencode(page)}")
        found += answer["data"]
        more = answer["has_more"]
    return found


async def _shown(home: Path, name: str) -> dict[str, Any]:
    async with open_control(home) as control:
        return await with_details(control, await control.request("GET", _path(name)))


async def _log(home: Path, name: str, *, follow: bool, as_json: bool) -> None:
    async with open_control(home) as control:
        await follow_events(control, _path(name), follow=follow, as_json=as_json)


async def _watch(home: Path, names: list[str]) -> bool:
    async with open_control(home) as control:
        if not names:
            found = await _every(control, [("state", state) for state in ACTIVE], _PAGE)
            names = [each["id"] for each in reversed(found)]
        return await watch_jobs(control, [_path(name) for name in dict.fromkeys(names)])


def _print(job: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    rows: list[tuple[str, object]] = [
        ("id", job["id"]),
        ("kind", job["kind"]),
        ("about", job.get("subject")),
        ("state", state_of(job)),
        ("done", done_of(job)),
        ("error", job.get("error_code")),
        ("created", at_time(job["created_at"])),
        ("started", at_time(job.get("started_at"))),
        ("finished", at_time(job.get("finished_at"))),
    ]
    print_details(job, rows)
