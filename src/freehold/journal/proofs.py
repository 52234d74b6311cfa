"""The proof that a record stands in the journal, for somebody who has no other record of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from freehold.errors import JournalDamaged
from freehold.journal.merkle import leaf_hash, path
from freehold.journal.reader import Line, parse_line, read_line, segment_path
from freehold.journal.records import FORMAT, Kind
from freehold.journal.verify import root_from_path, signed

_BLOCK_BYTES = 64 * 1024
_MARK = b'"kind":"checkpoint"'


def prove(folder: Path, segment: int, offset: int) -> dict[str, Any] | None:
    """The `proof` object of docs/reference/journal.md; None where no checkpoint covers the record yet.

    Reads the records that the checkpoint covers, and nothing else of the segment but its first line. Blocks: call it
    in a thread.

    Args:
        folder: the writer's folder.
        segment: the number of the record's segment.
        offset: of the record in it, in bytes.

    Raises:
        JournalDamaged: what is read is no journal.
        FileNotFoundError: there is no such segment; it may have been retired.
    """
    line = read_line(folder, segment, offset)
    if line.kind == Kind.CHECKPOINT:
        return None
    found = _covering(folder, line)
    if found is None:
        return None
    checkpoint, later = found
    first, last = checkpoint.body["first"], checkpoint.body["last"]
    lines = [*_before(folder, line, line.seq - first), line.raw, *later]
    if len(lines) != last - first + 1:
        raise JournalDamaged(
            f"{segment_path(folder, segment)}: the checkpoint {checkpoint.seq} says that it covers the records {first} "
            f"to {last}, but {len(lines)} stand there"
        )
    siblings = path([leaf_hash(raw) for raw in lines], line.seq - first)
    return {
        "format": FORMAT,
        "line": line.raw.decode(),
        "path": [sibling.hex() for sibling in siblings],
        "checkpoint": checkpoint.body,
        "public_key": read_line(folder, segment, 0).body["public_key"],
    }


def fault_of(proof: Mapping[str, Any], public_key: bytes) -> str | None:
    """What is wrong with a proof that `prove` made; None if a checkpoint signed with the key covers its line."""
    checkpoint, raw = proof["checkpoint"], proof["line"].encode()
    index = orjson.loads(raw)["seq"] - checkpoint["first"]
    size = checkpoint["last"] - checkpoint["first"] + 1
    root = root_from_path(leaf_hash(raw), index, size, [bytes.fromhex(sibling) for sibling in proof["path"]])
    if root is None or root.hex() != checkpoint["root"]:
        return (
            f"the records {checkpoint['first']} to {checkpoint['last']} of the journal are not those that the "
            "checkpoint after them signs; 'freehold audit verify' names the first bad one"
        )
    if not signed(public_key, checkpoint):
        return f"the checkpoint after the record {checkpoint['last']} of the journal is not signed with the home's key"
    return None


def _covering(folder: Path, line: Line) -> tuple[Line, list[bytes]] | None:
    """The first checkpoint behind a record, and the lines between the two."""
    file_path = segment_path(folder, line.segment)
    between: list[bytes] = []
    with file_path.open("rb") as file:
        offset = line.after.offset
        file.seek(offset)
        for raw in file:
            if not raw.endswith(b"\n"):
                return None  # it is being written
            if _MARK in raw:
                found = parse_line(file_path, line.segment, offset, raw)
                if found.kind == Kind.CHECKPOINT:
                    return found, between
            between.append(raw[:-1])
            offset += len(raw)
    return None


def _before(folder: Path, line: Line, count: int) -> list[bytes]:
    """So many lines before a record, or all that there are."""
    if count <= 0:
        return []
    block = b""
    with segment_path(folder, line.segment).open("rb") as file:
        begin = line.offset
        while begin and block.count(b"\n") <= count:
            size = min(begin, max(_BLOCK_BYTES, len(block)))
            begin -= size
            file.seek(begin)
            block = file.read(size) + block
    return block.split(b"\n")[:-1][-count:]
