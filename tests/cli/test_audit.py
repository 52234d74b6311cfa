"""`freehold audit`: an operator exports and anchors, an auditor verifies."""

import csv
import json
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.journal import verify
from tests.cli.program import ARGV, ECHO_CONFIG, Program

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A home whose server answered three requests, refused one, and has ended."""
    folder = tmp_path_factory.mktemp("audited")
    config = folder / "freehold.toml"
    config.write_text(ECHO_CONFIG)
    program = Program(folder / "home")
    with program.serving("--config", str(config)) as server:
        for text in ("one", "two", "three"):
            chat(program, server.url, text)
        program.fine("keys", "create", "auditor")
    return program


@pytest.fixture
def copy(used: Program, tmp_path: Path) -> Path:
    """What the operator hands out."""
    file = tmp_path / "journal.tar.gz"
    used.fine("audit", "export", str(file))
    return file


def chat(program: Program, url: str, text: str) -> str:
    """One chat; its request's id."""
    key = (program.home / "admin.key").read_text().strip()
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/v1/chat/completions", body, headers), timeout=60
    ) as answer:
        answer.read()
        return str(answer.headers["x-request-id"])


def records(program: Program) -> list[dict[str, Any]]:
    """All records, as `tail` gives them."""
    return [json.loads(line) for line in program.fine("audit", "tail", "-n", "1000", "--json").splitlines()]


def receipts(program: Program) -> list[dict[str, Any]]:
    """The bodies of all receipts."""
    return [record["body"] for record in records(program) if record["kind"] == "receipt"]


def test_a_journal_that_nobody_changed_is_verified(used: Program) -> None:
    """Without a path the home's own journal is verified; the answer tells how much there is."""
    told = used.fine("audit", "verify")
    assert told.splitlines()[-1] == "verified"
    (report,) = used.json("audit", "verify")["data"]
    assert (report["damage"], report["receipts"], report["uncovered"]) == (None, 3, 0)


def test_an_outsider_verifies_a_copy(used: Program, copy: Path, tmp_path: Path) -> None:
    """An export is verified by the one file alone, with the key and a checkpoint that were kept elsewhere."""
    anchor, key = tmp_path / "anchor.json", tmp_path / "key.pem"
    used.fine("audit", "anchor", str(anchor))
    key.write_bytes((used.home / "journal" / "public.pem").read_bytes())
    argv = [sys.executable, verify.__file__, str(copy), "--checkpoint", str(anchor), "--public-key", str(key)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "came with the copy" not in done.stdout
    used.fine("audit", "verify", str(copy), "--checkpoint", str(anchor), "--public-key", str(key))


@pytest.mark.parametrize("kind", ["edited", "deleted", "reordered", "truncated"])
def test_a_changed_copy_is_found_out(used: Program, copy: Path, tmp_path: Path, kind: str) -> None:
    """An edit, a deletion, a reorder and a truncation end with exit 1 and the first bad record."""
    anchor = tmp_path / "anchor.json"
    used.fine("audit", "anchor", str(anchor))
    with tarfile.open(copy) as archive:
        archive.extractall(tmp_path, filter="data")
    file = tmp_path / "journal" / "main" / "00000001.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if b'"kind":"receipt"' in line)
    match kind:
        case "edited":
            lines[place] = lines[place].replace(b'"cost_micro":0', b'"cost_micro":1')
        case "deleted":
            del lines[place]
        case "reordered":
            lines[place : place + 2] = reversed(lines[place : place + 2])
        case "truncated":
            del lines[place:]
    file.write_bytes(b"".join(lines))
    done = used.run("audit", "verify", str(tmp_path / "journal"), "--checkpoint", str(anchor), "--json")
    assert done.returncode == 1
    damage = json.loads(done.stdout)["data"][0]["damage"]
    assert damage["kind"] == kind
    assert damage["seq"] == {"edited": place + 1, "truncated": place}.get(kind, place + 2)


def test_receipts_are_exported_for_readers(used: Program, tmp_path: Path) -> None:
    """Receipts come as JSON lines or as a table of some columns, and only those of the time that is asked for."""
    lines, table = tmp_path / "receipts.jsonl", tmp_path / "receipts.csv"
    assert "exported 3 receipts" in used.fine("audit", "export", str(lines))
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert found == receipts(used)
    used.fine("audit", "export", str(table), "--since", "2026-01-01", "--until", "2126-01-01")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["request_id"] for row in rows] == [body["request_id"] for body in found]
    day = found[0]["started_at"][:10]
    assert "exported 3 receipts" in used.fine(
        "audit", "export", str(tmp_path / "day.csv"), "--since", day, "--until", day
    )
    assert "exported 0 receipts" in used.fine("audit", "export", str(tmp_path / "none.csv"), "--since", "2126-01-01")


def test_what_cannot_be_exported_is_told(used: Program, tmp_path: Path) -> None:
    """A file that exists is not overwritten, a wrong name or time is told, and nothing half written is left."""
    taken = tmp_path / "taken.csv"
    taken.write_text("mine")
    assert "exists already" in used.refused(2, "audit", "export", str(taken))
    assert taken.read_text() == "mine"
    assert ".tar.gz, .jsonl or .csv" in used.refused(2, "audit", "export", str(tmp_path / "journal.zip"))
    assert "no --since" in used.refused(2, "audit", "export", str(tmp_path / "a.tar.gz"), "--since", "2026-01-01")
    done = used.run("audit", "export", str(tmp_path / "a.csv"), "--since", "yesterday")
    assert done.returncode == 2
    assert "such as 2026-01-31" in done.stderr
    used.refused(1, "audit", "export", str(tmp_path / "no" / "folder.csv"))
    used.refused(2, "audit", "export", str(tmp_path / "a.csv"), "--home", str(tmp_path / "empty"))
    assert [path.name for path in tmp_path.iterdir()] == ["taken.csv"]


def test_one_request_is_shown(used: Program) -> None:
    """All records of a request are shown by its id, one by its number, and whether a checkpoint covers them."""
    request_id = receipts(used)[0]["request_id"]
    found = used.json("audit", "show", request_id)["data"]
    assert [record["kind"] for record in found] == ["admitted", "receipt"]
    assert all(record["covered"] for record in found)
    told = used.fine("audit", "show", str(found[1]["seq"]))
    assert request_id in told
    assert "finished" in told
    assert "no record 'req_none'" in used.refused(2, "audit", "show", "req_none")


def test_the_newest_records_are_listed(used: Program) -> None:
    """`tail` has so many of the newest, a line each, and none of 0."""
    lines = used.fine("audit", "tail", "-n", "3").splitlines()
    assert len(lines) == 3
    assert lines[-1].split()[2] == "checkpoint"
    assert used.fine("audit", "tail", "-n", "0") == ""


def test_records_are_followed_over_segments(tmp_path: Path) -> None:
    """`tail --follow` shows each record once, in order, also those that come while segments end."""
    config = tmp_path / "freehold.toml"
    config.write_text(ECHO_CONFIG + "\n[journal]\nsegment_bytes = 65536\n")
    program = Program(tmp_path / "home")
    with program.serving("--config", str(config)) as server:
        process = subprocess.Popen(
            [*ARGV, "audit", "tail", "-n", "1000", "--follow", "--json"],
            env=program.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            wanted = {chat(program, server.url, f"number {number}") for number in range(120)}
            seen = [record["seq"] for record in _until_all(process.stdout, wanted)]
        finally:
            process.kill()
            process.communicate()
    assert seen == list(range(1, len(seen) + 1))
    assert len(list((program.home / "journal" / "main").glob("*.jsonl"))) >= 3


def _until_all(lines: Any, wanted: set[str]) -> Iterator[dict[str, Any]]:
    """The records up to the receipt of the last wanted request."""
    left = set(wanted)
    for line in lines:
        record = json.loads(line)
        if record["kind"] == "receipt":
            left.discard(record["body"]["request_id"])
        yield record
        if not left:
            return


def test_a_checkpoint_is_kept_in_git(used: Program, tmp_path: Path) -> None:
    """In a repository the anchor is committed, once; what is kept is a checkpoint of the journal."""
    for command in (["init", "--quiet"], ["config", "user.email", "a@b"], ["config", "user.name", "auditor"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    used.fine("audit", "anchor", str(tmp_path))
    used.fine("audit", "anchor", str(tmp_path))
    log = subprocess.run(["git", "-C", str(tmp_path), "log", "--format=%s"], capture_output=True, text=True, check=True)
    (subject,) = log.stdout.splitlines()
    assert subject.startswith("Anchor main at record ")
    kept = json.loads((tmp_path / "freehold" / "main.json").read_text())
    assert kept in [record["body"] for record in records(used) if record["kind"] == "checkpoint"]


def test_an_anchor_of_another_log_is_not_replaced(used: Program, tmp_path: Path) -> None:
    """What was kept and does not fit the log is evidence: it stays, and the command fails."""
    file = tmp_path / "anchor.json"
    used.fine("audit", "anchor", str(file))
    kept = json.loads(file.read_text())
    for change in ({"head": "0" * 64}, {"last": kept["last"] + 1000}):
        file.write_text(json.dumps(kept | change))
        assert "not replaced" in used.refused(1, "audit", "anchor", str(file))
        assert json.loads(file.read_text()) == kept | change


def test_a_folder_that_is_no_repository_is_told(used: Program, tmp_path: Path) -> None:
    """A folder without git is refused in one line."""
    assert "git cannot keep" in used.refused(2, "audit", "anchor", str(tmp_path))
