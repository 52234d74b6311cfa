"""`freehold abuse`: whose requests were flagged, who is suspended, and what is kept for review."""

import asyncio
import csv
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import quote, urlencode

import typer

from freehold.cli.control import Control, open_control
from freehold.cli.lazy import command_group
from freehold.cli.listing import every, project_meant
from freehold.cli.moments import duration_s, moment, moment_or_ago
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, YesOption, confirm, home_of
from freehold.cli.output import print_json, print_note, visible
from freehold.cli.tables import at_time, print_table
from freehold.config import load_settings
from freehold.errors import Conflict, NotFound
from freehold.types.abuse import SubjectKind

_EPILOG = """\b
Examples:
  freehold abuse report --since 7d
  freehold abuse suspend --end-user mallory --project proj-default --reason "case 7" --until 30d
  freehold abuse review req_0123456789abcdef0123456789abcdef --reason TEXT"""

app = command_group("Find misuse, suspend users, review blocked texts.", _EPILOG)

SubjectArgument: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="[SUBJECT]", help="An end user's digest (eu_…), a member's or a project's id.")
]
EndUserOption: TypeAlias = Annotated[
    str | None, typer.Option("--end-user", metavar="NAME", help="An end user, by the name that callers give it.")
]
ProjectOption: TypeAlias = Annotated[
    str | None, typer.Option("--project", metavar="PROJECT", help="Only in this project, by its id or name.")
]
SinceOption: TypeAlias = Annotated[
    str, typer.Option("--since", metavar="TIME", help="How long ago, or the first day or moment, UTC.")
]
UntilOption: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Last day, or the moment at which to end. [default: now]")
]
ReasonOption: TypeAlias = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why. It stands in the journal.")
]
RequestArgument: TypeAlias = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The request's id.")]

_FIGURES: Final = ("requests", "flagged", "blocked", "share", "score")
_SIDES: Final = {"prompt": "in", "completion": "out"}


@app.callback()
def abuse() -> None:
    """Find misuse in what the content filter flagged, suspend whoever is behind it, and review what was blocked."""


@app.command("report", epilog="Example: freehold abuse report --since 30d --group-by principal")
def report(
    since: SinceOption = "7d",
    until: UntilOption = None,
    project: ProjectOption = None,
    end_user: EndUserOption = None,
    group_by: Annotated[SubjectKind, typer.Option("--group-by", help="Whom to keep apart.")] = SubjectKind.END_USER,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 50,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values with a head.")] = False,
    home: HomeOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show whose requests were flagged, the highest score first.

    The score is 0 to 100: how many of the requests were flagged, times how severely. End users are shown as the digests
    that are kept instead of their names.
    """
    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    query = {"group_by": group_by.value, "limit": str(limit), **_window(since, until)}
    if end_user is not None:
        query["end_user"] = end_user
    answer = asyncio.run(_get(home_of(home), config, "/admin/abuse", query, project))
    if as_json:
        print_json(answer)
    elif as_csv:
        _print_csv(group_by, answer)
    elif not answer["data"]:
        print_note("Nothing was flagged in this time.")
    else:
        _print_subjects(group_by, answer)


@app.command("show", epilog="Example: freehold abuse show eu_0123456789abcdef01234567 --since 30d")
def show(
    subject: SubjectArgument = None,
    end_user: EndUserOption = None,
    since: SinceOption = "30d",
    until: UntilOption = None,
    project: ProjectOption = None,
    home: HomeOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was flagged of one end user, member or project, day by day."""
    _check_one(subject, end_user)
    path = "/admin/abuse/end_user" if subject is None else f"/admin/abuse/{quote(subject, safe='')}"
    query = _window(since, until) | ({} if end_user is None else {"name": end_user})
    answer = asyncio.run(_get(home_of(home), config, path, query, project))
    if as_json:
        print_json(answer)
    else:
        _print_timeline(answer)


@app.command("suspend", epilog='Example: freehold abuse suspend --end-user mallory --reason "case 7" --until 30d')
def suspend(
    reason: ReasonOption,
    subject: SubjectArgument = None,
    end_user: EndUserOption = None,
    project: Annotated[
        str | None, typer.Option("--project", metavar="PROJECT", help="Only in this project. [default: everywhere]")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="For how long, or until when. [default: for good]")
    ] = None,
    tell: Annotated[bool, typer.Option("--tell", help="Tell the caller the reason.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse an end user or a member from now on, and stop what runs for it. Again, to change the terms."""
    _check_one(subject, end_user)
    body: dict[str, Any] = {"reason": reason, "tell": tell, "until": None if until is None else _end(until)}
    body |= {"end_user": end_user} if subject is None else {"subject": subject}
    made = asyncio.run(_suspend(home_of(home), project, body))
    if as_json:
        print_json(made)
    else:
        where = f" in {made['project_id']}" if made["project_id"] else ""
        end = f" until {at_time(made['until'])}" if made["until"] else ""
        print(f"suspended: {made['subject']}{where}{end} ({made['id']})")


@app.command("resume", epilog="Example: freehold abuse resume eu_0123456789abcdef01234567")
def resume(
    subject: Annotated[
        str | None, typer.Argument(metavar="[SUBJECT]", help="Who is suspended, or the suspension's id.")
    ] = None,
    end_user: EndUserOption = None,
    project: ProjectOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift a suspension: requests are served again at once."""
    _check_one(subject, end_user)
    row = asyncio.run(_resume(home_of(home), subject, end_user, project))
    if as_json:
        print_json({"object": "suspension", "id": row["id"], "deleted": True})
    else:
        print(f"resumed: {row['subject']} ({row['id']})")


@app.command("list", epilog="Example: freehold abuse list")
def list_suspensions(project: ProjectOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List who is suspended."""
    rows = asyncio.run(_listed(home_of(home), "/admin/suspensions", project))
    if as_json:
        print_json({"object": "list", "data": rows})
    elif not rows:
        print_note("Nobody is suspended.")
    else:
        cells = [
            (row["id"], row["subject"], row["name"], row["project_id"], at_time(row["until"]), row["reason"])
            for row in rows
        ]
        print_table(("id", "subject", "name", "project", "until", "reason"), cells)


@app.command("flagged", epilog="Example: freehold abuse flagged --project proj-default")
def list_flagged(
    project: ProjectOption = None, end_user: EndUserOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """List blocked requests whose text is kept for review, newest first. No text is shown."""
    rows = asyncio.run(_listed(home_of(home), "/admin/flagged", project, end_user))
    if as_json:
        print_json({"object": "list", "data": rows})
    elif not rows:
        print_note("Nothing is kept. A content-filter policy keeps what it blocks where it says keep_flagged.")
    else:
        cells = [
            (
                row["id"],
                at_time(row["created_at"]),
                row["project_id"],
                row["end_user"] or row["principal"],
                ", ".join(row["found"].get("blocked", ())),
                at_time(row["expires_at"]),
            )
            for row in rows
        ]
        print_table(("request", "at", "project", "by", "blocked", "kept until"), cells)


@app.command("review", epilog='Example: freehold abuse review req_0123456789abcdef0123456789abcdef --reason "case 7"')
def review(
    request_id: RequestArgument, reason: ReasonOption, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Read the text of a blocked request. That you did, and why, is recorded before you see it."""
    path = f"/admin/flagged/{quote(request_id, safe='')}/review"
    answer = asyncio.run(_call(home_of(home), "POST", path, {"reason": reason}))
    if as_json:
        print_json(answer)
        return
    print_note(f"{answer['project_id']}  {answer['end_user'] or answer['principal']}  {at_time(answer['created_at'])}")
    for side in _SIDES:
        cut = " (the beginning)" if side in answer["cut"] else ""
        print_note(f"--- {side}{cut}: {_found(answer['found'].get(side, {}))}")
        if answer[side]:
            print(visible(answer[side]))


@app.command("forget", epilog="Example: freehold abuse forget req_0123456789abcdef0123456789abcdef --yes")
def forget(request_id: RequestArgument, yes: YesOption = False, home: HomeOption = None) -> None:
    """Delete what is kept of a blocked request."""
    confirm(f"Delete what is kept of {request_id}, for good?", yes=yes)
    asyncio.run(_call(home_of(home), "DELETE", f"/admin/flagged/{quote(request_id, safe='')}"))
    print(f"deleted: what was kept of {request_id}")


def _check_one(subject: str | None, end_user: str | None) -> None:
    if (subject is None) == (end_user is None):
        raise typer.BadParameter("name one: SUBJECT, or --end-user NAME")


def _window(since: str, until: str | None) -> dict[str, str]:
    now = datetime.now(UTC)
    start = moment_or_ago(since, "--since", now)
    end = now + timedelta(seconds=1) if until is None else moment(until, "--until", last=True)
    return {"start_time": str(int(start.timestamp())), "end_time": str(int(end.timestamp()))}


def _end(text: str) -> int:
    """When a suspension ends: so long from now, or at a moment."""
    now = datetime.now(UTC)
    if text[-1:].isalpha() and text[:-1].isdecimal():
        return int(now.timestamp()) + duration_s(text, "--until")
    return int(moment(text, "--until", last=True).timestamp())


async def _project(control: Control, wanted: str | None) -> dict[str, str]:
    """The project to ask about, if one is named."""
    return {} if wanted is None else {"project": await project_meant(control, wanted)}


async def _get(
    home: Path, config: Path | None, path: str, query: dict[str, str], project: str | None
) -> dict[str, Any]:
    async with open_control(home, load_settings(config)) as control:
        return await control.request("GET", f"{path}?{urlencode(query | await _project(control, project))}")


async def _call(home: Path, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request(method, path, body)


async def _listed(home: Path, path: str, project: str | None, end_user: str | None = None) -> list[dict[str, Any]]:
    async with open_control(home) as control:
        parameters = await _project(control, project) | ({} if end_user is None else {"end_user": end_user})
        return await every(control, path, **parameters)


async def _suspend(home: Path, project: str | None, body: dict[str, Any]) -> dict[str, Any]:
    async with open_control(home) as control:
        where = await _project(control, project)
        return await control.request("POST", "/admin/suspensions", {**body, "project_id": where.get("project")})


async def _resume(home: Path, subject: str | None, end_user: str | None, project: str | None) -> dict[str, Any]:
    async with open_control(home) as control:
        parameters = await _project(control, project) | ({} if end_user is None else {"end_user": end_user})
        rows = await every(control, "/admin/suspensions", **parameters)
        found = [row for row in rows if subject is None or subject in {row["id"], row["subject"]}]
        if not found:
            raise NotFound(f"{subject or 'this end user'} is not suspended; 'freehold abuse list' shows who is")
        if len(found) > 1:
            ids = ", ".join(f"{row['id']} ({row['project_id'] or 'everywhere'})" for row in found)
            raise Conflict(f"there are {len(found)} suspensions; name one by its id: {ids}")
        await control.request("DELETE", f"/admin/suspensions/{quote(found[0]['id'], safe='')}")
        return found[0]


def _found(severities: dict[str, str]) -> str:
    return ", ".join(name if label == "detected" else f"{name} {label}" for name, label in severities.items()) or "-"


def _findings(line: dict[str, Any]) -> str:
    """What was found, in short: in which half, what, how severely, and in how many requests."""
    return ", ".join(
        f"{_SIDES[each['side']]} {each['name']} {each['severity']} {each['requests']}" for each in line["findings"]
    )


def _print_subjects(group_by: SubjectKind, answer: dict[str, Any]) -> None:
    rows = [
        (
            line["id"],
            line["name"] if group_by is not SubjectKind.END_USER else line["project_id"],
            *(f"{100 * line[name]:.1f} %" if name == "share" else line[name] for name in _FIGURES),
            at_time(line["last_flagged_at"]),
            "suspended" if line["suspended"] else "",
            _findings(line),
        )
        for line in answer["data"]
    ]
    second = "name" if group_by is not SubjectKind.END_USER else "project"
    print_table((group_by.value, second, *_FIGURES, "last", "now", "found"), rows)
    if answer["has_more"]:
        print_note("There are more; --limit shows them.")


def _print_csv(group_by: SubjectKind, answer: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = ("project_id", *_FIGURES, "first_flagged_at", "last_flagged_at", "suspended")
    writer.writerow([group_by.value, *names])
    writer.writerows([line["id"], *(line[name] for name in names)] for line in answer["data"])


def _print_timeline(answer: dict[str, Any]) -> None:
    print(visible(f"{answer['type']} {answer['id']}{' ' + answer['name'] if answer['name'] else ''}"))
    rows = [
        (datetime.fromtimestamp(day["start_time"], UTC).date(), *_counts(day), _findings(day)) for day in answer["data"]
    ]
    total = answer["total"]
    print_table(("day", *_FIGURES[:3], "found"), [*rows, ("total", *_counts(total), f"score {total['score']}")])
    for row in answer["suspensions"]:
        end = f" until {at_time(row['until'])}" if row["until"] else ""
        where = f"in {row['project_id']}" if row["project_id"] else "everywhere"
        print(visible(f"suspended {where}{end}: {row['reason']}"))


def _counts(line: dict[str, Any]) -> list[int]:
    return [line[name] for name in _FIGURES[:3]]
