"""`freehold erase`: destroying what was kept for a user or a project, and the certificates of it."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, YesOption, confirm, home_of
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import at_time, print_table
from freehold.errors import Conflict, HomeError, InvalidRequest
from freehold.journal.erasure_certificate import MAX_BYTES, verify_certificate

app = command_group("Erase a user's or a project's data, with a certificate.", "Example: freehold erase user USER_ID")

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the certificate there, and not to stdout.")
]


@app.callback()
def erase() -> None:
    """Erase a user's or a project's data for good, and prove it."""


@app.command("user", epilog="Example: freehold erase user user-0123456789abcdef01234567 -o erased.json")
def erase_user(
    user: Annotated[str, typer.Argument(metavar="USER_ID", help="The user's id; also of one who was removed.")],
    output: OutputOption = None,
    yes: YesOption = False,
    home: HomeOption = None,
) -> None:
    """Destroy the keys of everything that was kept for a user, remove the user, and print the signed certificate."""
    _check_free(output)
    confirm(f"Erase the user {user}, and everything that was kept for them, for good?", yes=yes)
    asyncio.run(_erase(home_of(home), "users", user, output))


@app.command("project", epilog="Example: freehold erase project proj_0123456789abcdef01234567 -o erased.json")
def erase_project(
    project: Annotated[str, typer.Argument(metavar="PROJECT_ID", help="The project's id.")],
    output: OutputOption = None,
    yes: YesOption = False,
    home: HomeOption = None,
) -> None:
    """Destroy the keys of everything that was kept for a project, archive it, and print the signed certificate."""
    _check_free(output)
    confirm(f"Erase the project {project}, and everything that was kept in it, for good?", yes=yes)
    asyncio.run(_erase(home_of(home), "projects", project, output))


@app.command("list", epilog="Example: freehold erase list")
def list_erasures(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List what was erased."""
    asyncio.run(_list(home_of(home), as_json=as_json))


@app.command("show", epilog="Example: freehold erase show erasure_0123456789abcdef01234567")
def show_erasure(
    erasure: Annotated[str, typer.Argument(metavar="ERASURE_ID", help="The erasure's id.")],
    output: OutputOption = None,
    home: HomeOption = None,
) -> None:
    """Print the certificate of an erasure once more."""
    _check_free(output)
    asyncio.run(_show(home_of(home), erasure, output))


@app.command("verify", epilog="Example: freehold erase verify erased.json --public-key public.pem")
def verify_erasure(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="The file.")],
    public_key: Annotated[
        Path | None, typer.Option(help="The journal's public key, kept elsewhere; without it the certificate's own.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="A journal, or a copy of one, that must hold the record of the erasure.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a certificate, offline. Exit code 1 if it is not what was signed."""
    try:
        with certificate.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise InvalidRequest(f"{certificate} cannot be read: {exc.strerror}") from exc
    found = verify_certificate(data, public_key, _writer(journal))
    if as_json:
        told = {"known_key": found.known_key, "in_journal": found.in_journal, "public_key_sha256": found.key_sha256}
        print_json({"object": "verified_erasure", **told, "certificate": found.said})
        return
    subject = found.said["subject"]
    print_table(
        ("field", "value"),
        [
            ("erased", f"{subject['kind']} {subject['id']} of {subject['organization_id']}"),
            ("at", found.said["erased_at"]),
            ("by", found.said["by"]["principal"]),
            ("content keys destroyed", len(found.said["content_keys_destroyed"])),
            ("rows deleted", ", ".join(f"{count} {kind}" for kind, count in found.said["rows_deleted"].items())),
            ("journal record", f"{found.said['journal']['seq']}, {'found' if found.in_journal else 'not looked at'}"),
            ("signed by", found.key_sha256),
        ],
    )
    if not found.known_key:
        print_note("The key is the certificate's own: compare 'signed by' with the journal's, or give --public-key.")
    print("verified")


def _writer(journal: Path | None) -> Path | None:
    """The folder with the segments: the one that was given, or the only one in it.

    Raises:
        InvalidRequest: there is none, or there are several.
    """
    if journal is None or any(journal.glob("*.jsonl")):
        return journal
    found = sorted({path.parent for path in journal.glob("*/*.jsonl")})
    if len(found) != 1:
        raise InvalidRequest(f"{journal} holds {len(found)} journals; give the folder with the segments")
    return found[0]


async def _erase(home: Path, kind: str, subject: str, output: Path | None) -> None:
    async with open_control(home) as control:
        certificate = await control.request("POST", f"/v1/organization/{kind}/{quote(subject, safe='')}/erase")
    _give(certificate, output)


async def _show(home: Path, erasure: str, output: Path | None) -> None:
    async with open_control(home) as control:
        certificate = await control.request("GET", f"/v1/organization/erasures/{quote(erasure, safe='')}")
    _give(certificate, output)


async def _list(home: Path, *, as_json: bool) -> None:
    async with open_control(home) as control:
        answer = await control.request("GET", "/v1/organization/erasures")
    if as_json:
        print_json(answer)
        return
    if not answer["data"]:
        print_note("Nothing was erased yet.")
        return
    rows = [
        (
            each["id"],
            f"{each['subject']['kind']} {each['subject']['id']}",
            at_time(each["created_at"]),
            each["content_keys_destroyed"],
            sum(each["rows_deleted"].values()),
            each["by"]["principal"],
        )
        for each in answer["data"]
    ]
    print_table(("id", "erased", "at", "keys", "rows", "by"), rows)


def _check_free(output: Path | None) -> None:
    """Raise Conflict if there is a file already, before anything is erased."""
    if output is not None and output.exists():
        raise Conflict(f"{output} exists already; write the certificate to another file")


def _give(certificate: dict[str, Any], output: Path | None) -> None:
    """Write the certificate to its file, or print it."""
    if output is None:
        print_json(certificate)
        return
    try:
        output.write_text(json.dumps(certificate, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as exc:
        erasure = certificate["certificate"]["id"]
        raise HomeError(
            f"erased, but {output} cannot be written ({exc.strerror}); 'freehold erase show {erasure}' prints it again"
        ) from exc
    print(f"erased; the certificate is in {output}")
