"""Verify a Freehold journal, or a receipt's proof: one file, for auditors, who need nothing else of Freehold.

    pip install cryptography
    python verify.py PATH [--checkpoint FILE] [--public-key FILE] [--json]

PATH is a journal's folder, one writer's folder in it, a log as one file (.jsonl), an archive of a journal's folder
(.tar.gz), or a proof (JSON, from `GET /v1/receipts/{id}`). Exits with 0: all is well; 1: damaged, and the first bad
record is named; 2: this cannot be verified. What it relies on (the format is docs/reference/journal.md):

- A log is files of JSON lines, its segments. A line is canonical: keys sorted, no white space, integers only. Each
  record has `seq` (1, 2, 3, …), `prev` (the SHA-256 of the line before), `at`, `kind` and `body`. A changed, missing,
  moved or added line breaks this chain, unless all lines after it are made anew.
- So that they cannot be, a `checkpoint` signs (Ed25519) its own time, the number and the SHA-256 of the record before
  it, and the root of the Merkle tree (RFC 6962) over all records since the checkpoint before.
- Whoever has the private key can make all of that anew, but not so that it agrees with a checkpoint that was kept
  elsewhere (`--checkpoint`). That also shows whether the log's end was cut off.
- Whoever can replace the log can replace the public key in it, so the key must come from elsewhere (`--public-key`).
- A request leaves `admitted` before it runs and one `receipt` when it has ended. What a crash left without a receipt
  gets one right after the `recovered` of the next start. A `segment` record begins each segment and names the
  requests that are open (`carried.open`). A `retired` record says that the service deleted an old segment.

From the whole to the parts: `verify`, `Log`, how a break is explained, proofs, Merkle trees, files.
"""

import argparse
import hashlib
import json
import re
import sqlite3
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

KINDS = {"segment", "admitted", "receipt", "admin", "training", "checkpoint", "retired", "recovered", "closed"}
RECORD = {"seq": int, "prev": str, "at": str, "kind": str, "body": dict}
CHECKPOINT = {"writer": str, "first": int, "last": int, "head": str, "root": str, "at": str, "signature": str}
ZEROS = "0" * 64
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
MOST_BYTES = 64 * 1024 * 1024  # the longest line, and the largest file that is read as a whole
Files = dict[str, Callable[[], Any]]  # name → how it is opened


class Unusable(Exception):
    """What was given cannot be verified at all."""


@dataclass
class Damaged(Exception):
    """The first bad record, where it stands, and what is wrong with it.

    `kind` is edited, deleted, reordered, inserted, rewritten, truncated, receipts, key or proof.
    """

    file: str
    line: int
    seq: int
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, record {self.seq}: {self.kind}: {self.what}"


@dataclass
class Report:
    """What was found in one log or proof. `public_key` is the SHA-256 of its 32 bytes; no `damage` if all is well."""

    writer: str = ""
    segments: int = 0
    records: int = 0
    first: int = 0
    last: int = 0
    receipts: int = 0
    checkpoints: int = 0
    uncovered: int = 0
    begins: str = ""
    ends: str = ""
    public_key: str = ""
    notes: list[str] = field(default_factory=list)
    damage: Damaged | None = None


@dataclass
class Record:
    """One line of a log (`raw`, without its newline) that was read as a record."""

    file: str
    line: int
    raw: bytes
    sha256: str
    seq: int
    prev: str
    at: str
    kind: str
    body: dict[str, Any]

    def damaged(self, kind: str, what: str) -> Damaged:
        """This record as the first bad one."""
        return Damaged(self.file, self.line, self.seq, kind, what)

    def get(self, name: str, kind: type) -> Any:
        """What the body says of something, if it is of the right type."""
        if type(self.body.get(name)) is not kind:
            raise self.damaged("edited", f"`{name}` of its body is missing or not of the type {kind.__name__}")
        return self.body[name]


def main(arguments: list[str]) -> int:
    """Verify what the command line names, and tell."""
    parser = argparse.ArgumentParser(description="Verify a Freehold journal, or the proof of a receipt.")
    parser.add_argument("path", type=Path, help="a journal, a writer's folder, a .jsonl, a .tar.gz, or a proof")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint that was kept elsewhere (JSON)")
    parser.add_argument("--public-key", type=Path, help="the public key, kept elsewhere (PEM, or 64 hex digits)")
    parser.add_argument("--json", action="store_true", help="tell it as JSON: a list of reports")
    given = parser.parse_args(arguments)
    try:
        reports = verify(given.path, given.checkpoint, given.public_key)
    except Unusable as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 2
    lines = [json.dumps([told(each) for each in reports])] if given.json else [*chain(*map(describe, reports))]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if any(report.damage for report in reports) else 0


def describe(report: Report) -> list[str]:
    """A report in lines for people."""
    about = f"writer '{report.writer}': {report.records} records ({report.first} to {report.last}), "
    about += f"{report.receipts} receipts, {report.checkpoints} checkpoints, {report.segments} segments"
    times = f"time: {report.begins} to {report.ends}"
    notes = [f"note: {note}" for note in report.notes]
    result = f"DAMAGED: {report.damage}" if report.damage else "verified"
    return [about, times, f"public key (SHA-256): {report.public_key}", *notes, result]


def told(report: Report) -> dict[str, Any]:
    """A report for programs."""
    damage = None if report.damage is None else {**asdict(report.damage), "message": str(report.damage)}
    return {**asdict(replace(report, damage=None)), "damage": damage}


def verify(path: Path, checkpoint: Path | None = None, public_key: Path | None = None) -> list[Report]:
    """Verify everything at a path: a report for each writer's log, or one for a proof.

    Args:
        path: what to verify; see the top of this file.
        checkpoint: a file with a checkpoint that was kept elsewhere, as `freehold audit anchor` writes it.
        public_key: a file with the key; without it, the one that comes with the copy is taken.

    Raises:
        Unusable: a file cannot be read, or is none of these.
    """
    try:
        key = read_key(public_key.read_bytes(), str(public_key)) if public_key else None
        anchor = read_json(checkpoint) if checkpoint else None
        if anchor is not None and not has(anchor, CHECKPOINT):
            raise Unusable(f"{checkpoint} holds no checkpoint, an object with {', '.join(CHECKPOINT)}")
        if path.is_file() and not path.name.endswith((".jsonl", ".tar.gz", ".tgz")):
            if anchor:
                raise Unusable("a proof holds its own checkpoint; --checkpoint is for logs")
            return [verify_proof(path, key)]
        with ExitStack() as opened:
            logs, key_in_copy = find_logs(path, opened)
            reports = [verify_log(log, anchor, key, key_in_copy, part=path.is_file()) for log in logs]
    except (OSError, EOFError, zlib.error, tarfile.TarError) as exc:
        raise Unusable(f"{path} cannot be read: {exc}") from exc
    if anchor and not {anchor["writer"], ""} & {report.writer for report in reports}:
        raise Unusable(f"the kept checkpoint is of the writer '{anchor['writer']}', who has no log in {path}")
    return reports


def verify_log(
    files: Files, anchor: dict[str, Any] | None, key: bytes | None, key_in_copy: bytes | None, *, part: bool
) -> Report:
    """Verify one log from its first line to its last, or to the first bad record.

    Args:
        files: its segments in order, or one file with all of them.
        anchor: the body of a checkpoint that was kept elsewhere, if there is one.
        key: the public key that was kept elsewhere (32 bytes), if there is one.
        key_in_copy: the one that came with the log, if there is one; else the log's first record names one.
        part: whether the log may begin with any segment.

    Raises:
        Unusable: a file has no record, or the kept checkpoint is older than the log's first record.
    """
    log = Log(key or key_in_copy, anchor)
    if key is None:
        log.report.notes.append("the public key came with the copy: this proves only that the copy agrees with itself")
    try:
        log.read(read_lines(files), part=part)
    except Damaged as damage:
        log.report.damage = damage
    finally:
        log.receipts.close()
    return log.report


class Log:
    """What is known of a log after the lines that were read so far."""

    def __init__(self, key: bytes | None, anchor: dict[str, Any] | None) -> None:
        self.key = key
        self.anchor = anchor
        self.report = Report()
        self.first: Record | None = None
        self.last: Record | None = None
        self.segment = 0
        self.range_first = 0
        self.leaves: list[bytes] = []  # hashes of the records since the last checkpoint
        self.open: set[str] = set()  # requests that have begun and not ended
        self.interrupted: set[str] = set()  # those of them that a crash ended
        self.explained = False  # whether a `retired` record says why the log begins after record 1
        # A temporary database, which goes to the disk by itself, so that a log of any length fits into memory.
        self.receipts = sqlite3.connect("", isolation_level=None)
        self.receipts.execute("CREATE TABLE receipts (request_id TEXT PRIMARY KEY, seq INTEGER) WITHOUT ROWID")
        self.receipts.execute("BEGIN")

    def read(self, lines: Iterator[tuple[str, int, bytes]], *, part: bool) -> None:
        """Read all lines: each must be a record that follows the one before; then see what it says."""
        for file, number, raw in lines:
            if not raw.endswith(b"\n") and is_torn(raw) and next(lines, None) is None:
                self.report.notes.append(f"{file} ends within a line, as while it is written or after a crash")
                break
            record = parse(file, number, raw, self.last.seq + 1 if self.last else 1)
            self.follow(record, lines)
            if record.kind != "checkpoint":
                self.leaves.append(leaf_hash(record.raw))
            check = getattr(self, f"on_{record.kind}", None)
            if check:
                check(record)
            if self.anchor and record.seq == self.anchor["last"] and record.sha256 != self.anchor["head"]:
                raise record.damaged("rewritten", "this is not the record that the kept checkpoint signed")
            self.last = record
        self.end(part=part)

    def follow(self, record: Record, rest: Iterator[tuple[str, int, bytes]]) -> None:
        """The chain: numbers without a gap, each record with the hash of the one before, segments in order."""
        segment = segment_number(record.file)
        if self.last is None or self.first is None:
            if record.kind != "segment":
                raise record.damaged("deleted", "a log begins with a `segment` record, and this is none")
            self.first, self.segment = record, record.get("number", int) - 1
            self.report.first, self.report.begins = record.seq, record.at
            if (self.segment == 0) + (record.seq == 1) + (record.prev == ZEROS) not in {0, 3}:
                raise record.damaged("edited", "segment 1, and no other, begins with record 1 and a `prev` of zeros")
        elif record.line == 1 and segment != self.segment + 1:
            raise record.damaged("deleted", f"segment {self.segment + 1} is missing before it")
        elif record.seq != self.last.seq + 1 or record.prev != self.last.sha256:
            raise explain(self.last, record, rest)
        elif (record.kind == "segment") != (record.line == 1) and segment is not None:
            raise record.damaged(
                "inserted", "a `segment` record stands at the beginning of each file, and nowhere else"
            )
        self.report.records, self.report.last, self.report.ends = self.report.records + 1, record.seq, record.at

    def on_segment(self, record: Record) -> None:
        """A segment begins: whose it is, which it is, what is open, and with which key it is signed."""
        number, writer, named = record.get("number", int), record.get("writer", str), record.get("public_key", str)
        if record.get("format", int) != 1:
            raise record.damaged("edited", "this verifier knows format 1 only")
        if number != self.segment + 1 or segment_number(record.file) not in {None, number}:
            raise record.damaged("reordered", f"this is segment {number}, and another one should stand here")
        if writer != (self.report.writer or writer):
            raise record.damaged("inserted", f"it belongs to the log of another writer, '{writer}'")
        if len(self.leaves) > 1:
            raise record.damaged("deleted", "the segment before this one does not end with a checkpoint")
        carried = set(record.get("carried", dict).get("open", ()))
        if record is not self.first and carried != self.open:
            raise record.damaged("receipts", "its `carried.open` does not name the requests that are open here")
        self.key = self.key or unhex(named, 32) or b""
        if named != self.key.hex():
            raise record.damaged("key", f"it names the public key {named}, but the one to verify with is another")
        self.open, self.segment, self.range_first = carried, number, record.seq
        self.report.writer, self.report.segments = writer, self.report.segments + 1
        self.report.public_key = hashlib.sha256(self.key).hexdigest()
        if record is self.first and self.anchor:
            self.prepare_anchor(self.anchor, record)

    def prepare_anchor(self, anchor: dict[str, Any], first: Record) -> None:
        """Whether a kept checkpoint is of this writer, can be compared, and is signed with the log's key."""
        if anchor["writer"] != self.report.writer:
            self.anchor = None
        elif anchor["last"] < first.seq:
            text = "the kept checkpoint signed record {}, but the log begins with record {}: give a newer checkpoint"
            raise Unusable(text.format(anchor["last"], first.seq))
        elif not signed(self.key, anchor):
            raise first.damaged("key", "the kept checkpoint is not signed with the key that this log is signed with")

    def on_checkpoint(self, record: Record) -> None:
        """A checkpoint: it must cover what stands before it, and be signed."""
        covers = f"the records {self.range_first} to {record.seq - 1}"
        if not self.leaves:
            raise record.damaged("inserted", "it covers no record")
        root = root_hash(self.leaves).hex()
        found = (self.report.writer, self.range_first, record.seq - 1, record.prev, root, record.at)
        for name, value in zip(CHECKPOINT, found, strict=False):
            if record.body.get(name) != value:
                what = f"its `{name}` is not that of {covers}: one of them, or this one, was changed"
                raise record.damaged("rewritten", what)
        if set(record.body) != set(CHECKPOINT) or not signed(self.key, record.body):
            raise record.damaged("rewritten", f"its signature over {covers} is not one of the key")
        self.report.checkpoints += 1
        self.leaves, self.range_first = [], record.seq + 1

    def on_admitted(self, record: Record) -> None:
        """A request begins; what a crash ended has its receipts before that."""
        if self.interrupted:
            raise record.damaged("receipts", f"{min(self.interrupted)} should have its receipt before this record")
        self.open.add(record.get("request_id", str))

    def on_receipt(self, record: Record) -> None:
        """A request has ended; no other receipt may say so."""
        request_id = record.get("request_id", str)
        earlier = self.receipts.execute("SELECT seq FROM receipts WHERE request_id = ?", (request_id,)).fetchone()
        if earlier:
            raise record.damaged("receipts", f"{request_id} has a receipt already, record {earlier[0]}")
        self.receipts.execute("INSERT INTO receipts VALUES (?, ?)", (request_id, record.seq))
        self.open.discard(request_id)
        self.interrupted.discard(request_id)
        self.report.receipts += 1

    def on_recovered(self, record: Record) -> None:
        """A start after a crash: all requests that are open get their receipts now."""
        if record.get("interrupted", int) != len(self.open):
            raise record.damaged("receipts", f"{len(self.open)} requests are open here, and it names another number")
        self.interrupted = set(self.open)

    def on_retired(self, record: Record) -> None:
        """The service deleted a segment; if it is the one before this log's first, it must fit."""
        gone = [record.get("number", int), record.get("last", int), record.get("head", str)]
        if self.first and self.first.seq > 1 and gone[0] == self.first.body["number"] - 1:
            if gone[1:] != [self.first.seq - 1, self.first.prev]:
                raise record.damaged(
                    "rewritten", "what it says was deleted does not fit before this log's first record"
                )
            self.explained = True

    def end(self, *, part: bool) -> None:
        """What can only be said once all lines were read."""
        if self.first is None or self.last is None:
            raise Unusable("there is no record")
        before = f"the records before {self.first.seq} are not here"
        if self.first.seq > 1 and not self.explained and not part:
            raise self.first.damaged("deleted", f"{before}, and no `retired` record says that the service deleted them")
        if self.interrupted:
            raise self.last.damaged("receipts", f"{min(self.interrupted)} was interrupted and has no receipt")
        if self.anchor and self.anchor["last"] > self.last.seq:
            what = f"the log ends here, but the kept checkpoint signed record {self.anchor['last']}"
            raise self.last.damaged("truncated", what)
        self.report.uncovered = len(self.leaves)
        self.report.notes += [f"begins at record {self.first.seq}: {before}"] if self.first.seq > 1 else []
        self.report.notes += [f"{self.report.uncovered} records not yet covered by a signature"] if self.leaves else []
        self.report.notes += [f"{len(self.open)} requests have begun and not ended"] if self.open else []


def explain(last: Record, here: Record, rest: Iterator[tuple[str, int, bytes]]) -> Damaged:  # noqa: PLR0911 - one a case
    """What was done where a record does not follow the one before it, judged by what comes after."""
    expected, later = last.seq + 1, (found for each in rest if (found := attempt(*each)))
    following = next(later, None)
    follows_here = following is not None and following.prev == here.sha256
    if following and here.seq >= expected and (following.seq, following.prev) == (expected, last.sha256):
        moved = here.prev == following.sha256
        return here.damaged("reordered" if moved else "inserted", f"record {expected} should stand here, not after it")
    if here.seq == expected:
        rightly = here.kind == "checkpoint" and here.body.get("head") == here.prev
        if follows_here or rightly or (following is None and here.kind != "checkpoint"):
            return last.damaged("edited", f"its SHA-256 is not the `prev` of record {here.seq}")
        return here.damaged("edited", "its `prev` is not the SHA-256 of the record before")
    if here.prev == last.sha256:
        return here.damaged("edited", f"its `seq` should be {expected}")
    if here.seq <= last.seq:
        bad = last if here.seq == last.seq and follows_here and here.raw != last.raw else here
        return bad.damaged("inserted", f"a record {here.seq} stands already before record {expected}")
    for record in chain([following] if following else [], later):
        if record.seq == expected:
            what = f"record {expected} should stand here, and is in {record.file}, line {record.line}"
            return here.damaged("reordered", what)
    return here.damaged("deleted", f"the records {expected} to {here.seq - 1} are missing before it")


def parse(file: str, line: int, raw: bytes, seq: int) -> Record:
    """Read a line as a record; if it is none, it is the bad one, in the place of record `seq`."""
    try:
        found = json.loads(raw, parse_float=int, parse_constant=int)  # which refuses what is no integer
        if canonical(found) + b"\n" != raw or not has(found, RECORD) or len(found) != len(RECORD):
            raise ValueError(f"it must be canonical, with {', '.join(RECORD)}")  # noqa: TRY301 - told below
        if found["seq"] < 1 or found["kind"] not in KINDS or not TIME.fullmatch(found["at"]):
            raise ValueError("its number, time or kind is none")  # noqa: TRY301 - likewise
    except (ValueError, RecursionError) as exc:
        raise Damaged(file, line, seq, "edited", f"the line is no record: {exc}") from exc
    return Record(file, line, raw[:-1], hashlib.sha256(raw[:-1]).hexdigest(), **found)


def attempt(file: str, line: int, raw: bytes) -> Record | None:
    """A line as a record, if it is one."""
    try:
        return parse(file, line, raw, 0)
    except Damaged:
        return None


def is_torn(raw: bytes) -> bool:
    """Whether bytes may be the beginning of a line: nothing stands behind the end of an object."""
    try:
        return json.JSONDecoder().raw_decode(text := raw.decode(errors="replace"))[1] == len(text)
    except (ValueError, RecursionError):
        return True


def verify_proof(path: Path, key: bytes | None) -> Report:
    """Verify that a signed checkpoint covers the one line that a proof is about."""
    found = read_json(path)
    proof = found.get("proof", found)
    if not has(proof, {"format": int, "line": str, "path": list, "checkpoint": dict, "public_key": str}):
        raise Unusable(f"{path} is neither a log (.jsonl, .tar.gz, .tgz) nor a proof")
    report, checkpoint = Report(records=1, checkpoints=1), proof["checkpoint"]
    try:
        record = parse(str(path), 1, proof["line"].encode(errors="replace") + b"\n", 0)
        named, siblings = unhex(proof["public_key"], 32), [unhex(each, 32) for each in proof["path"]]
        if (
            proof["format"] != 1
            or not has(checkpoint, CHECKPOINT)
            or not named
            or None in siblings
            or len(siblings) > 64
        ):
            raise record.damaged("proof", "its format, checkpoint, path or public key is of the wrong form")
        if named != (key or named):
            raise record.damaged("key", "it names another public key than the one to verify with")
        report.first, report.last, report.begins, report.ends = record.seq, record.seq, record.at, record.at
        report.writer, report.receipts = checkpoint["writer"], int(record.kind == "receipt")
        report.public_key = hashlib.sha256(named).hexdigest()
        if "receipt" in found and canonical(found["receipt"]) != canonical(record.body):
            raise record.damaged("proof", "the receipt is not what the proven line says")
        index, size = record.seq - checkpoint["first"], checkpoint["last"] - checkpoint["first"] + 1
        root = root_from_path(leaf_hash(record.raw), index, size, [each for each in siblings if each])
        if root is None or root.hex() != checkpoint["root"]:
            raise record.damaged("proof", "the path does not lead from the line to the root of the checkpoint")
        if not signed(named, checkpoint):
            raise record.damaged("proof", "the signature of the checkpoint is not one of the key")
    except Damaged as damage:
        report.damage = damage
    if key is None:
        report.notes.append("the public key came with the proof: it proves nothing unless that is the service's key")
    return report


def signed(key: bytes | None, checkpoint: dict[str, Any]) -> bool:
    """Whether the signature of a checkpoint is one of the key."""
    text = "freehold checkpoint v1\n" + "".join(f"{checkpoint[name]}\n" for name in list(CHECKPOINT)[:-1])
    try:
        Ed25519PublicKey.from_public_bytes(key or b"").verify(unhex(checkpoint["signature"], 64) or b"", text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def leaf_hash(line: bytes) -> bytes:
    """The leaf of a line in a Merkle tree (RFC 6962, section 2.1, as the next three)."""
    return hashlib.sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(leaves: list[bytes]) -> bytes:
    """The root of the tree over leaves; its left part is the largest power of two that is smaller than all."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_hash(leaves[:left]), root_hash(leaves[left:]))


def root_from_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root over `size` leaves, from one of them and the nodes beside its way up; None if they do not fit."""
    if size <= 1 or not path or not 0 <= index < size:
        return leaf if (index, size, path) == (0, 1, []) else None
    left = 1 << (size - 1).bit_length() - 1
    if index < left:
        below = root_from_path(leaf, index, left, path[:-1])
        return node_hash(below, path[-1]) if below else None
    below = root_from_path(leaf, index - left, size - left, path[:-1])
    return node_hash(path[-1], below) if below else None


def find_logs(path: Path, opened: ExitStack) -> tuple[list[Files], bytes | None]:
    """The logs of a journal's folder, of a writer's, of an archive or of one file, and the public key with them."""
    if path.is_dir():
        places = [each for pattern in ("*", "*/*") for each in path.glob(pattern) if each.is_file()]
        files: Files = {each.relative_to(path).as_posix(): partial(each.open, "rb") for each in places}
        if segments_of(files, ".") and (path.parent / "public.pem").is_file():
            files.setdefault("public.pem", partial((path.parent / "public.pem").open, "rb"))
    elif path.name.endswith(".jsonl"):
        return [{path.name: partial(path.open, "rb")}], None
    else:
        archive = opened.enter_context(tarfile.open(path, "r:gz"))  # noqa: SIM115 - nothing is unpacked to the disk
        files = {each.name: partial(archive.extractfile, each) for each in archive if each.isfile()}
    folders = sorted({str(PurePosixPath(name).parent) for name in files})
    logs = [log for folder in folders if (log := segments_of(files, folder))]
    if not logs:
        raise Unusable(f"{path} holds no segment of a journal, such as main/00000001.jsonl")
    keys = [name for name in files if PurePosixPath(name).name == "public.pem"]
    if not keys:
        return logs, None
    with files[keys[0]]() as file:
        return logs, read_key(file.read(MOST_BYTES), f"{path}: {keys[0]}")


def segments_of(files: Files, folder: str) -> Files:
    """The segments in one folder, in order."""
    names = [name for name in files if str(PurePosixPath(name).parent) == folder and segment_number(name)]
    return {name: files[name] for name in sorted(names, key=lambda name: segment_number(name) or 0)}


def segment_number(name: str) -> int | None:
    """The number of the segment that a file is named for."""
    match = re.fullmatch(r"(?:.*/)?(\d{8,})\.jsonl", name)
    return int(match[1]) if match else None


def read_lines(files: Files) -> Iterator[tuple[str, int, bytes]]:
    """All lines of files: file, number, and the bytes with the newline; one without bytes for an empty file."""
    for name, open_file in files.items():
        with open_file() as file:
            number, raw = 1, file.readline(MOST_BYTES)
            while raw or number == 1:
                yield name, number, raw
                number, raw = number + 1, file.readline(MOST_BYTES)


def read_key(data: bytes, name: str) -> bytes:
    """The 32 bytes of a public key that is written as PEM or as hex."""
    try:
        if key := unhex(data.decode().strip(), 32):
            return key
        if isinstance(found := load_pem_public_key(data), Ed25519PublicKey):
            return found.public_bytes_raw()
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise Unusable(f"{name} holds no public key, as PEM or as 64 hex digits: {exc}") from exc
    raise Unusable(f"{name} holds a public key that is not Ed25519")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one for other JSON."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MOST_BYTES))
    except (ValueError, RecursionError) as exc:
        raise Unusable(f"{path} is no JSON: {exc}") from exc
    return found if isinstance(found, dict) else {}


def has(value: Any, types: dict[str, type]) -> bool:
    """Whether a value is an object that has these, each of its type."""
    return isinstance(value, dict) and all(type(value.get(name)) is kind for name, kind in types.items())


def canonical(value: Any) -> bytes:
    """A value as canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unhex(text: Any, size: int) -> bytes | None:
    """So many bytes from their lower-case hex digits; None if the text is something else."""
    return bytes.fromhex(text) if isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
