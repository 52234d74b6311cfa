"""`freehold audit`: reading, exporting and verifying the journal of a home. Reads files only; needs no server."""

import asyncio
import csv
import io
import json
import subprocess
import tarfile
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json, print_note
from freehold.cli.tables import print_table
from freehold.errors import Conflict, InvalidRequest, JournalDamaged, NotFound
from freehold.journal.verify import Report, Unusable, describe, verify
from freehold.store.home import Home, write_private

app = command_group("Read, export and verify the journal.", "Example: freehold audit verify")

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
        print_json({"object": "list", "data": [_report(report) for report in reports]})
    else:
        print("\n".join(line for report in reports for line in describe(report)))
        if public_key is None:
            print_note("The key came with the copy: this proves that the copy agrees with itself, not whose it is.")
    if any(report.damage for report in reports):
        raise typer.Exit(ExitCode.FAILED)


def _report(report: Report) -> dict[str, Any]:
    found = asdict(report)
    found["damage"] = None if report.damage is None else {**asdict(report.damage), "message": str(report.damage)}
    return found


@app.command("export", epilog="Example: freehold audit export journal.tar.gz")
def export(
    file: Annotated[Path, typer.Argument(help="Where to: .tar.gz (all), .jsonl or .csv (receipts).")],
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Receipts from this UTC day on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Receipts before this UTC day.")] = None,
    home: HomeOption = None,
) -> None:
    """Export the journal for an auditor, or its receipts for a reader."""
    place = Home(home_of(home))
    if file.exists():
        raise Conflict(f"{file} exists already; export to another file")
    if file.name.endswith((".tar.gz", ".tgz")):
        if since or until:
            raise InvalidRequest("a whole journal has no --since or --until; export receipts to .jsonl or .csv")
        _segments(place)
        with tarfile.open(file, "w:gz") as archive:
            archive.add(place.journal, arcname="journal")
        print(f"exported {file}")
        return
    if file.suffix not in {".jsonl", ".csv"}:
        raise InvalidRequest(f"{file}: the name must end in .tar.gz, .jsonl or .csv")
    found = (
        record["body"]
        for record in _records(place)
        if record["kind"] == "receipt" and (since or "") <= record["body"]["started_at"] < (until or "~")
    )
    with file.open("w", encoding="utf-8", newline="") as out:
        count = _write_csv(out, found) if file.suffix == ".csv" else _write_lines(out, found)
    print(f"exported {count} receipts to {file}")


def _write_csv(out: io.TextIOBase | Any, found: Iterator[dict[str, Any]]) -> int:
    writer = csv.DictWriter(out, CSV_FIELDS, extrasaction="ignore")
    writer.writeheader()
    count = 0
    for body in found:
        writer.writerow(body)
        count += 1
    return count


def _write_lines(out: io.TextIOBase | Any, found: Iterator[dict[str, Any]]) -> int:
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
    seq = 0
    for record in deque(_records(place), maxlen=number or 1) if number else ():
        _print_line(record, as_json=as_json)
        seq = record["seq"]
    while follow:
        newest = _segments(place)[-1:]
        for record in _records_of(newest):
            if record["seq"] > seq:
                _print_line(record, as_json=as_json)
                seq = record["seq"]
        asyncio.run(asyncio.sleep(FOLLOW_S))


def _print_line(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(record, ensure_ascii=False), flush=True)
        return
    body = record["body"]
    told = ("request_id", "outcome", "status", "error_code", "principal", "deployment", "method", "path", "cost_micro")
    facts = " ".join(f"{name}={body[name]}" for name in told if name in body)
    print(f"{record['seq']:>8} {record['at']} {record['kind']:<10} {facts}", flush=True)


@app.command("show", epilog="Example: freehold audit show req_0123456789abcdef0123456789abcdef")
def show(
    wanted: Annotated[str, typer.Argument(metavar="REQUEST_ID|SEQ", help="A request's id, or a record's number.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all records of a request, or one record by its number, and whether a checkpoint covers them."""
    found, covered = [], 0
    for record in _records(Home(home_of(home))):
        if str(record["seq"]) == wanted or record["body"].get("request_id") == wanted:
            found.append(record)
        if record["kind"] == "checkpoint":
            covered = record["body"]["last"]
    if not found:
        raise NotFound(f"the journal has no record '{wanted}'")
    if as_json:
        print_json({"object": "list", "data": [{**record, "covered": record["seq"] <= covered} for record in found]})
        return
    for record in found:
        facts = {name: record[name] for name in ("seq", "at", "kind", "prev")} | record["body"]
        facts["covered by a checkpoint"] = "yes" if record["seq"] <= covered else "not yet"
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
        if record["kind"] == "checkpoint":
            newest = record["body"]
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


def _segments(place: Home) -> list[Path]:
    """The segments, oldest first.

    Raises:
        NotFound: there are none.
    """
    found = sorted(place.journal.glob("*/*.jsonl"))
    if not found:
        raise NotFound(f"there is no journal in {place.journal}")
    return found


def _records(place: Home) -> Iterator[dict[str, Any]]:
    """Every whole record, oldest first."""
    yield from _records_of(_segments(place))


def _records_of(segments: list[Path]) -> Iterator[dict[str, Any]]:
    for segment in segments:
        with segment.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break  # being written now
                try:
                    yield json.loads(line)
                except ValueError as exc:
                    raise JournalDamaged(
                        f"{segment.name}, line {number} is no record; 'freehold audit verify'"
                    ) from exc
