"""Opening a writer's folder: after an orderly end as it is; after any other, with the end mended and settled.

The mended segment is written as a whole to another file, synced and renamed over the old one. So a recovery
happens wholly or not at all, and what a failed sync had left in memory only comes to be on the disk.
"""

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from freehold import __version__
from freehold.errors import JournalDamaged
from freehold.journal.carried import Carried
from freehold.journal.chain import Chain
from freehold.journal.disk import Disk
from freehold.journal.reader import SUFFIX, read_last_line, segment_numbers, segment_path
from freehold.journal.records import FORMAT, Kind, Plain, canonical, utc
from freehold.journal.segment import NEW, Segment, write_segment
from freehold.journal.signer import Signer
from freehold.types.receipt import Admitted, Outcome, Receipt

log = structlog.get_logger("freehold.journal")

_SHARED: Final = set(Admitted._fields) & set(Receipt._fields)
_KEYS: Final = {"at", "body", "kind", "prev", "seq"}
_WHAT_TO_DO: Final = (
    "`freehold audit verify` tells more. Restore the folder from a backup, or move it away to begin a new journal"
)


@dataclass(slots=True)
class Tail:
    """Where writing goes on."""

    segment: Segment
    chain: Chain
    carried: Carried


@dataclass(frozen=True, slots=True)
class Place:
    """Whose journal it is, and where."""

    folder: Path
    """The writer's."""
    writer: str
    signer: Signer
    disk: Disk
    clock: Callable[[], float]


@dataclass(slots=True)
class _Scan:
    """What a segment holds, as far as it is whole."""

    chain: Chain
    carried: Carried = field(default_factory=Carried)
    header_bytes: int = 0
    end: int = 0
    """Bytes up to the end of the last whole record."""
    lines: int = 0
    last_kinds: tuple[str, str] = ("", "")

    @property
    def orderly(self) -> bool:
        """Whether the writer came to its end, and with nothing open."""
        return self.last_kinds == (Kind.CLOSED, Kind.CHECKPOINT) and not self.carried.open


def header(place: Place, number: int, carried: Carried) -> bytes:
    """The body of a `segment` record, in canonical form."""
    return canonical(
        {
            "writer": place.writer,
            "number": number,
            "format": FORMAT,
            "version": __version__,
            "public_key": place.signer.public_key.hex(),
            "carried": carried.wire(),
        }
    )


def open_tail(place: Place) -> Tail:
    """The end of the journal, ready for the next record; a new journal where there is none.

    Raises:
        JournalDamaged: a whole line of the last segment is not what was written, or a segment is missing.
        OSError: the folder cannot be read or written; nothing has changed.
    """
    disk, folder = place.disk, place.folder
    if not folder.exists():
        disk.make_folder(folder)
        for above in (folder.parent, folder.parent.parent):
            disk.sync_folder(above)
    for leftover in folder.glob(f"*{SUFFIX}{NEW}"):
        disk.unlink(leftover)
    numbers = segment_numbers(folder)
    if not numbers:
        return _first(place)
    for number, following in itertools.pairwise(numbers):
        if following != number + 1:
            raise JournalDamaged(f"{segment_path(folder, number + 1)} is missing. {_WHAT_TO_DO}")
    return _last(place, numbers[-1], oldest=numbers[0])


def _first(place: Place) -> Tail:
    chain, carried = Chain(place.signer, place.writer), Carried()
    line = chain.add(utc(place.clock()), Kind.SEGMENT, header(place, 1, carried)) + b"\n"
    return Tail(write_segment(place.disk, place.folder, 1, len(line), line), chain, carried)


def _last(place: Place, number: int, *, oldest: int) -> Tail:
    """The tail in the last segment, mended if its writer did not come to an orderly end."""
    path = segment_path(place.folder, number)
    data = path.read_bytes()
    scan = _Scan(Chain(place.signer, place.writer))
    if number > oldest:
        before = read_last_line(place.folder, number - 1)
        scan.chain.begin(before.seq, sha256(before.raw).hexdigest())
    _scan(place, number, data, scan, begins=number == oldest)
    if scan.orderly and scan.end == len(data):
        segment = Segment(number, scan.end, scan.header_bytes, place.disk.open(path), place.disk)
        return Tail(segment, scan.chain, scan.carried)
    cut_bytes, interrupted = len(data) - scan.end, len(scan.carried.open)
    mended = data[: scan.end] + _settled(place, scan, cut_bytes)
    segment = write_segment(place.disk, place.folder, number, scan.header_bytes, mended)
    log.warning("journal.recovered", segment=path.name, cut_bytes=cut_bytes, interrupted=interrupted)
    return Tail(segment, scan.chain, scan.carried)


def _settled(place: Place, scan: _Scan, cut_bytes: int) -> bytes:
    """The lines that end what was interrupted, with a checkpoint over them."""
    at = utc(place.clock())
    settled = [interrupted_receipt(admitted, at) for admitted in scan.carried.open.values()]
    body: Plain = {"cut_bytes": cut_bytes, "interrupted": len(settled)}
    lines = [scan.chain.add(at, Kind.RECOVERED, canonical(body))]
    for receipt in settled:
        lines.append(scan.chain.add(at, Kind.RECEIPT, canonical(receipt)))
        scan.carried.apply(Kind.RECEIPT, receipt)
    lines.append(scan.chain.checkpoint(at))
    return b"".join(line + b"\n" for line in lines)


def interrupted_receipt(admitted: Plain, at: str) -> Plain:
    """The receipt of a request whose server ended while it ran: it is charged for its prompt, by estimate.

    A line of a batch is charged nothing, for it is run again, or its batch ends without its answer.

    Args:
        admitted: the body of its `admitted`.
        at: when that was found out, as `utc` gives it.
    """
    of_batch = {"batch", "line"} <= (admitted.get("parameters") or {}).keys()
    return {
        **{name: value for name, value in admitted.items() if name in _SHARED},
        "ended_at": max(at, admitted["started_at"]),
        "duration_us": 0,
        "outcome": Outcome.INTERRUPTED.value,
        "status": 500,
        "error_code": "interrupted",
        "estimated": True,
        "cost_micro": 0 if of_batch else admitted.get("prompt_micro", 0),
    }


def _scan(place: Place, number: int, data: bytes, scan: _Scan, *, begins: bool) -> None:
    """Take in the whole lines of a segment; what follows the last of them is the torn tail.

    Raises:
        JournalDamaged: a whole line is not what was written.
    """
    path = segment_path(place.folder, number)
    while (end := data.find(b"\n", scan.end)) >= 0:
        line = data[scan.end : end]
        try:
            record = _record(line)
            if not scan.lines:
                _check_header(place, number, record, scan.chain, begins=begins)
                scan.carried = Carried.from_wire(record["body"]["carried"])
                scan.header_bytes = len(line) + 1
            _check(record, scan.chain)
            scan.carried.apply(record["kind"], record["body"])
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            if scan.lines and _is_torn(data[scan.end :]):
                return
            raise JournalDamaged(
                f"{path}: line {scan.lines + 1} is not what was written: {exc}. {_WHAT_TO_DO}"
            ) from exc
        scan.chain.follow(line, checkpoint=record["kind"] == Kind.CHECKPOINT)
        scan.last_kinds = (scan.last_kinds[1], record["kind"])
        scan.lines += 1
        scan.end = end + 1
    if not scan.lines:
        raise JournalDamaged(f"{path}: line 1 is not whole. {_WHAT_TO_DO}")


def _record(line: bytes) -> dict[str, Any]:
    """What a line holds; ValueError if it is no record."""
    record = orjson.loads(line)
    if not isinstance(record, dict) or record.keys() != _KEYS or not isinstance(record["body"], dict):
        raise ValueError("it is no record")
    return record


def _check(record: dict[str, Any], chain: Chain) -> None:
    """Whether a record is the next one of the chain; ValueError if not."""
    if record["seq"] != chain.seq + 1:
        raise ValueError(f"its seq is {record['seq']}, and {chain.seq + 1} comes next")
    if record["prev"] != chain.head:
        raise ValueError("its prev is not the hash of the line before")
    if record["kind"] == Kind.CHECKPOINT:
        body = dict(record["body"])
        body.pop("signature")
        if not chain.uncovered or body != {**chain.covering(), "at": record["at"]}:
            raise ValueError("the checkpoint is not over the lines before it")
    else:
        Kind(record["kind"])


def _check_header(place: Place, number: int, record: dict[str, Any], chain: Chain, *, begins: bool) -> None:
    """Whether a segment's first record is one, and this journal's; ValueError if not."""
    body = record["body"]
    if (record["kind"], body["number"], body["writer"]) != (Kind.SEGMENT, number, place.writer):
        raise ValueError(f"it is not the first record of segment {number} of the writer '{place.writer}'")
    if body["format"] != FORMAT:
        raise ValueError(f"its format is {body['format']}, and this version of Freehold writes {FORMAT}")
    if body["public_key"] != place.signer.public_key.hex():
        raise JournalDamaged(
            f"{segment_path(place.folder, number)} is signed with another key than the home has now: restore "
            "secrets/journal.pem from a backup, or move the folder of the journal away to begin a new one"
        )
    if begins and number > 1:
        chain.begin(record["seq"] - 1, record["prev"])


def _is_torn(tail: bytes) -> bool:
    """Whether what is left of a segment is what a machine that lost its power leaves.

    A file system may have given a file its length before its content: then zeros stand where no record has any.
    Zeros before a record that is whole are damage.
    """
    if b"\x00" not in tail:
        return False
    for line in tail.split(b"\n"):
        with suppress(orjson.JSONDecodeError):
            if isinstance(orjson.loads(line), dict):
                return False
    return True
