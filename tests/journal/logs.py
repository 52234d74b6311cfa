"""Logs as docs/reference/journal.md has them, written by nothing of Freehold: a second implementation of the format."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Body = dict[str, Any]
AT = "2026-11-24T08:00:00.{:06d}Z"


def canonical(value: Any) -> bytes:
    """Canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(line: bytes) -> str:
    """SHA-256 of a line, in hex."""
    return hashlib.sha256(line).hexdigest()


def merkle(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of RFC 6962, section 2.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + merkle(leaves[:split]) + merkle(leaves[split:])).digest()


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*inclusion(leaves[:split], index), merkle(leaves[split:])]
    return [*inclusion(leaves[split:], index - split), merkle(leaves[:split])]


def leaf(line: bytes) -> bytes:
    """The leaf hash of a line."""
    return hashlib.sha256(b"\x00" + line).digest()


@dataclass
class Log:
    """A log that grows line by line.

    Args:
        key: what checkpoints are signed with.
        writer: whose log it is.
    """

    key: Ed25519PrivateKey = field(default_factory=lambda: Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    writer: str = "main"
    segments: list[list[bytes]] = field(default_factory=list)
    open: dict[str, Body] = field(default_factory=dict)
    first: int = 0
    lines: list[bytes] = field(default_factory=list)

    @property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        return self.key.public_key().public_bytes_raw()

    def add(self, kind: str, body: Body | None = None) -> int:
        """Append a record; its number."""
        body = body or {}
        seq = len(self.lines) + 1
        prev = digest(self.lines[-1]) if self.lines else "0" * 64
        line = canonical({"seq": seq, "prev": prev, "at": AT.format(seq), "kind": kind, "body": body})
        self.lines.append(line)
        if kind == "segment":
            self.segments.append([])
            self.first = seq
        self.segments[-1].append(line)
        if kind == "admitted":
            self.open[body["request_id"]] = body
        if kind == "receipt":
            self.open.pop(body["request_id"], None)
        return seq

    def segment(self, **changes: Any) -> None:
        """Begin a segment."""
        named = {"number": len(self.segments) + 1, "writer": self.writer, "public_key": self.public.hex()}
        carried = {"open": dict(self.open), "recent": {}, "spent": {}}
        self.add("segment", {**named, "format": 1, "version": "1.0", "carried": carried, **changes})

    def request(self, name: str, **fields: Any) -> None:
        """One request, admitted and finished."""
        self.add("admitted", {"request_id": name, "deployment": "chat"})
        self.add("receipt", {"request_id": name, "outcome": "finished", "status": 200, "end_user": "Zoë", **fields})

    def signed(self, body: Body) -> Body:
        """A checkpoint's body with its signature."""
        text = "freehold checkpoint v1\n" + "".join(
            f"{body[name]}\n" for name in ("writer", "first", "last", "head", "root", "at")
        )
        return {**body, "signature": self.key.sign(text.encode()).hex()}

    def checkpoint(self) -> Body:
        """Sign all records since the last checkpoint; the body."""
        covered = self.lines[self.first - 1 :]
        last = len(self.lines)
        found = {"first": self.first, "last": last, "head": digest(covered[-1]), "at": AT.format(last + 1)}
        body = self.signed({**found, "writer": self.writer, "root": merkle([leaf(line) for line in covered]).hex()})
        self.first = self.add("checkpoint", body) + 1
        return body

    def proof(self, seq: int, first: int, checkpoint: Body) -> Body:
        """The proof of a record that a checkpoint covers."""
        leaves = [leaf(line) for line in self.lines[first - 1 : checkpoint["last"]]]
        path = [each.hex() for each in inclusion(leaves, seq - first)]
        line = self.lines[seq - 1].decode()
        return {"format": 1, "line": line, "path": path, "checkpoint": checkpoint, "public_key": self.public.hex()}

    def write(self, folder: Path) -> Path:
        """Write it as a journal's folder."""
        (folder / self.writer).mkdir(parents=True, exist_ok=True)
        write_key(self.key, folder / "public.pem")
        for number, lines in enumerate(self.segments, 1):
            path_of(folder, number, self.writer).write_bytes(b"".join(line + b"\n" for line in lines))
        return folder


def write_key(key: Ed25519PrivateKey, path: Path) -> Path:
    """Write the public key of a pair as PEM."""
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def path_of(folder: Path, number: int, writer: str = "main") -> Path:
    """A segment's file in a journal's folder."""
    return folder / writer / f"{number:08d}.jsonl"


def sample_log() -> Log:
    """Three segments with several checkpoints each: crash and recovery, an administrative action, refused requests.

    The records 1 to 8 are `segment`, three requests (2 to 7) and a checkpoint (8); segment 2 begins with record 16,
    segment 3 with record 22.
    """
    log = Log()
    log.segment()
    for name in ("a", "b", "c"):
        log.request(name)
    log.checkpoint()
    log.add("admin", {"action": "key.created", "actor": "key_1"})
    log.add("receipt", {"request_id": "refused-1", "outcome": "refused", "status": 401})
    log.request("d")
    log.checkpoint()
    log.add("admitted", {"request_id": "e"})
    log.checkpoint()
    log.segment()
    log.add("receipt", {"request_id": "e", "outcome": "finished"})
    log.add("admitted", {"request_id": "f"})
    log.add("recovered", {"cut_bytes": 12, "interrupted": 1})
    log.add("receipt", {"request_id": "f", "outcome": "interrupted"})
    log.checkpoint()
    log.segment()
    log.request("g")
    log.add("closed")
    log.checkpoint()
    return log
