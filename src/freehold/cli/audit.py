"""`freehold audit`: reading, exporting and verifying the journal of a home.

All but `log`, which asks the service, read files only and need no server.
"""

import asyncio
import csv
import json
import subprocess
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import orjson
import typer

from freehold.cli.audit_log import show_log
from freehold.cli.lazy import command_group
from freehold.cli.moments import moment
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json, visible
from freehold.cli.tables import print_table
from freehold.errors import Conflict, HomeError, InvalidRequest, JournalDamaged, NotFound
from freehold.journal.reader import Cursor, Line, read_on
from freehold.journal.records import utc
from freehold.journal.verify import Unusable, describe, told, verify
from freehold.store.home import Home, write_private

app = command_group("Read, export and verify the journal.", "Example: freehold audit verify")

app.command("log", epilog="Example: freehold audit log --event 'project.*' --since 2026-01-31")(show_log)

FOLLOW_S = 0.5
CSV_FIELDS = (
    "request_id",
    "started_at",
    "outcome",
    "status",
    "error_code",
    "project_id",
    "principal",
    "key_id",
    "end_user",
    "route",
    "deployment",
    "model",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "estimated",
    "cost_micro",
    "duration_us",
)


@app.callback()
def audit() -> None:
    """Read, export and verify the journal: what happened, and the proof that nobody changed it since."""


@app.command("verify", epilog="Example: freehold audit verify export.tar.gz --public-key key.pem")
def verify_journal(
    path: Annotated[
        Path | None, typer.Argument(help="A journal, an export, a segment or a proof. [default: the home's journal]")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint that was kept elsewhere: finds that the log was cut or rewritten.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="The public key, kept elsewhere; without it the one of the copy is taken.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a journal, offline, and name the first bad record. Exit code 1 if there is one."""
    try:
        reports = verify(path or Home(home_of(home)).journal, checkpoint, public_key)
    except Unusable as exc:
        raise InvalidRequest(str(exc)) from exc
    if as_json:
        print_json({"object": "list", "data": [told(report) for report in reports]})
    else:
        print("\n".join(line for report in reports for line in describe(report)))
    if any(report.damage for report in reports):
        raise typer.Exit(ExitCode.FAILED)


@app.command("export", epilog="Example: freehold audit export journal.tar.gz")
def export(
    file: Annotated[Path, typer.Argument(help="Where to: .tar.gz (all), .jsonl or .csv (receipts).")],
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Receipts from this day or moment on, UTC.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Receipts to the end of this day, or before this moment.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Export the journal for an auditor, or its receipts for a reader."""
    place = Home(home_of(home))
    whole = file.name.endswith((".tar.gz", ".tgz"))
    if not whole and file.suffix not in {".jsonl", ".csv"}:
        raise InvalidRequest(f"{file}: the name must end in .tar.gz, .jsonl or .csv")
    if whole and (since or until):
        raise InvalidRequest("a whole journal has no --since or --until; export receipts to .jsonl or .csv")
    begin = utc(moment(since, "--since").timestamp()) if since else ""
    end = utc(moment(until, "--until", last=True).timestamp()) if until else "~"
    if file.exists():
        raise Conflict(f"{file} exists already; export to another file")
    _folders(place)
    partial = file.with_name(f".{file.name}.partial")
    try:
        told = _export_whole(place, partial) if whole else _export_receipts(place, partial, file.suffix, begin, end)
        partial.rename(file)
    except OSError as exc:
        raise HomeError(f"{file} cannot be written: {exc.strerror}") from exc
    finally:
        partial.unlink(missing_ok=True)
    print(f"exported {told} to {file}")


def _export_whole(place: Home, file: Path) -> str:
    with tarfile.open(file, "w:gz") as archive:
        archive.add(place.journal, arcname="journal")
    return "the journal"


def _export_receipts(place: Home, file: Path, suffix: str, begin: str, end: str) -> str:
    found = (
        record.body
        for record in _records(place)
        if record.kind == "receipt" and begin <= record.body["started_at"] < end
    )
    with file.open("w", encoding="utf-8", newline="") as out:
        count = _write_csv(out, found) if suffix == ".csv" else _write_lines(out, found)
    return f"{count} receipts"


def _write_csv(out: IO[str], found: Iterable[dict[str, Any]]) -> int:
    writer = csv.DictWriter(out, CSV_FIELDS, extrasaction="ignore")
    writer.writeheader()
    count = 0
    for body in found:
        writer.writerow(body)
        count += 1
    return count


def _write_lines(out: IO[str], found: Iterable[dict[str, Any]]) -> int:
    count = 0
    for body in found:
        out.write(json.dumps(body, ensure_ascii=False) + "\n")
        count += 1
    return count


@app.command("tail", epilog="Example: freehold audit tail -n 20 --follow")
def tail(
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="How many records.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with records as they come.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest records, a line each."""
    place = Home(home_of(home))
    ends: dict[Path, Cursor] = {}
    newest: deque[Line] = deque(maxlen=number)
    for folder in _folders(place):
        for record in read_on(folder, Cursor()):
            newest.append(record)
            ends[folder] = record.after
    for record in newest:
        _print_line(record, as_json=as_json)
    while follow:
        for folder in _folders(place):
            for record in read_on(folder, ends.get(folder, Cursor())):
                _print_line(record, as_json=as_json)
                ends[folder] = record.after
        asyncio.run(asyncio.sleep(FOLLOW_S))


def _print_line(record: Line, *, as_json: bool) -> None:
    if as_json:
        print(record.raw.decode(), flush=True)
        return
    told = (
        "request_id",
        "outcome",
        "status",
        "error_code",
        "principal",
        "deployment",
        "method",
        "path",
        "action",
        "cost_micro",
    )
    facts = " ".join(f"{name}={record.body[name]}" for name in told if name in record.body)
    print(visible(f"{record.seq:>8} {record.at} {record.kind:<10} {facts}"), flush=True)


@app.command("show", epilog="Example: freehold audit show req_0123456789abcdef0123456789abcdef")
def show(
    wanted: Annotated[str, typer.Argument(metavar="REQUEST_ID|SEQ", help="A request's id, or a record's number.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all records of a request, or one record by its number, and whether a checkpoint covers them."""
    found: list[Line] = []
    covered = 0
    for record in _records(Home(home_of(home))):
        if str(record.seq) == wanted or record.body.get("request_id") == wanted:
            found.append(record)
        if record.kind == "checkpoint":
            covered = record.body["last"]
    if not found:
        raise NotFound(f"the journal has no record '{wanted}'")
    if as_json:
        data = [{**orjson.loads(record.raw), "covered": record.seq <= covered} for record in found]
        print_json({"object": "list", "data": data})
        return
    for record in found:
        facts = {"seq": record.seq, "at": record.at, "kind": record.kind, **record.body}
        facts["covered by a checkpoint"] = "yes" if record.seq <= covered else "not yet"
        print_table(("field", "value"), list(facts.items()))


@app.command("anchor", epilog="Example: freehold audit anchor /mnt/elsewhere/freehold.json")
def anchor(
    target: Annotated[Path, typer.Argument(help="A file, or a folder in a git repository, in which it is committed.")],
    home: HomeOption = None,
) -> None:
    """Keep the newest checkpoint elsewhere: against it, nobody can cut or rewrite what it covers unseen."""
    place = Home(home_of(home))
    newest = None
    for record in _records(place):
        if record.kind == "checkpoint":
            newest = record.body
    if newest is None:
        raise NotFound("the journal has no checkpoint yet")
    file = target / "freehold" / f"{newest['writer']}.json" if target.is_dir() else target
    if file.exists():
        _check_kept(place, file, newest)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_private(file, (json.dumps(newest, sort_keys=True, indent=2) + "\n").encode())
    if target.is_dir():
        _commit(target, file, newest)
    print(f"anchored record {newest['last']} in {file}")


def _check_kept(place: Home, file: Path, newest: dict[str, Any]) -> None:
    """See that the log still holds what an earlier anchor kept; only then may a newer one replace it.

    Raises:
        JournalDamaged: it does not.
        Conflict: the kept one is newer, or the file is none.
    """
    try:
        damage = [report.damage for report in verify(place.journal, file) if report.damage]
    except Unusable as exc:
        raise Conflict(f"{file} is not replaced: {exc}") from exc
    if damage:
        raise JournalDamaged(f"{file} is not replaced: {damage[0]}")
    if json.loads(file.read_text(encoding="utf-8"))["last"] > newest["last"]:
        raise Conflict(f"{file} is not replaced: it holds a newer checkpoint")


def _commit(folder: Path, file: Path, newest: dict[str, Any]) -> None:
    """Commit the anchor in the git repository of a folder.

    Raises:
        Conflict: git cannot.
    """
    name = str(file.relative_to(folder))
    message = f"Anchor {newest['writer']} at record {newest['last']}"
    for command in (["add", "--", name], ["commit", "--quiet", "--message", message, "--", name]):
        done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, check=False)
        if done.returncode:
            unchanged = "nothing to commit" in done.stdout + done.stderr or "no changes" in done.stdout
            if unchanged:
                return
            raise Conflict(f"git cannot keep the anchor: {(done.stderr or done.stdout).strip()[:300]}")


def _folders(place: Home) -> list[Path]:
    """The writers' folders.

    Raises:
        NotFound: there are none.
    """
    found = sorted({path.parent for path in place.journal.glob("*/*.jsonl")})
    if not found:
        raise NotFound(f"there is no journal in {place.journal}")
    return found


def _records(place: Home) -> Iterator[Line]:
    """Every whole record, oldest first."""
    for folder in _folders(place):
        yield from read_on(folder, Cursor())
