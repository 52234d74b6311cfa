"""Journals for tests: how they are opened, what goes in, and what an onlooker finds in their files."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.config import JournalSettings
from freehold.journal.disk import Disk
from freehold.journal.journal import Journal
from freehold.journal.signer import Signer

START_S = 1_795_478_400.0
"""2026-11-24T00:00:00Z: when the clocks of tests begin."""

Record = dict[str, Any]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now_s: float = START_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def signer_of(home: Path) -> Signer:
    """The key of a home for tests, in the places that a home has for it."""
    for folder in (home / "secrets", home / "journal"):
        folder.mkdir(parents=True, exist_ok=True)
    return Signer.load_or_create(home / "secrets" / "journal.pem", home / "journal" / "public.pem")


@asynccontextmanager
async def opened(
    home: Path,
    settings: JournalSettings | None = None,
    *,
    disk: Disk | None = None,
    clock: Callable[[], float] | None = None,
    retry_s: float = 0.02,
) -> AsyncIterator[Journal]:
    """The journal of a home, closed in the end."""
    journal = await Journal.open(
        home / "journal",
        signer_of(home),
        settings or JournalSettings(),
        disk=disk,
        clock=clock or Clock(),
        retry_s=retry_s,
    )
    try:
        yield journal
    finally:
        await journal.close()


def admitted(number: int, **fields: Any) -> Record:
    """The body of an `admitted` record."""
    return {
        "request_id": f"req_{number}",
        "started_at": "2026-11-24T08:00:00.000000Z",
        "route": "/v1/chat/completions",
        "dialect": "openai",
        "organization_id": "org_1",
        "project_id": "proj_1",
        "key_id": "key_1",
        "principal": "user_1",
        "auth_method": "api_key",
        "deployment": "chat",
        "reserved_tokens": 100,
        "reserved_micro": 500,
        "prompt_tokens": 7,
        "prompt_micro": 70,
        "price_version": "2026-01-01",
        **fields,
    }


def receipt(number: int, **fields: Any) -> Record:
    """The body of a `receipt` record."""
    return {
        "request_id": f"req_{number}",
        "started_at": "2026-11-24T08:00:00.000000Z",
        "ended_at": "2026-11-24T08:00:01.000000Z",
        "duration_us": 1_000_000,
        "outcome": "finished",
        "status": 200,
        "organization_id": "org_1",
        "project_id": "proj_1",
        "key_id": "key_1",
        "deployment": "chat",
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "cost_micro": 120,
        "parameters": {"temperature": "0.7", "stream": True},
        **fields,
    }


def lines_of(home: Path) -> list[bytes]:
    """All lines of a home's journal, without their newlines."""
    data = b"".join(path.read_bytes() for path in sorted((home / "journal" / "main").glob("*.jsonl")))
    assert data.endswith(b"\n")
    return data.split(b"\n")[:-1]


def records_of(home: Path) -> list[Record]:
    """All records of a home's journal, after a look at the chain, the signatures and what each request has."""
    lines = lines_of(home)
    records: list[Record] = [json.loads(line) for line in lines]
    key = Ed25519PublicKey.from_public_bytes(signer_of(home).public_key)
    head, uncovered = records[0]["prev"], 0
    for place, (line, record) in enumerate(zip(lines, records, strict=True)):
        assert json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == line
        assert set(record) == {"seq", "prev", "at", "kind", "body"}
        assert record["prev"] == head
        assert record["seq"] == records[0]["seq"] + place
        head = hashlib.sha256(line).hexdigest()
        uncovered += 1
        if record["kind"] == "checkpoint":
            _check_checkpoint(record, lines[place - uncovered + 1 : place], key)
            uncovered = 0
    assert_one_receipt_each(records)
    return records


def assert_one_receipt_each(records: list[Record]) -> None:
    """No request has two receipts, and none two admissions."""
    for kind in ("receipt", "admitted"):
        ids = [record["body"]["request_id"] for record in records if record["kind"] == kind]
        assert len(ids) == len(set(ids))


def ids_of(records: list[Record], kind: str) -> set[str]:
    """The requests that have a record of a kind."""
    return {record["body"]["request_id"] for record in records if record["kind"] == kind}


def kinds_of(records: list[Record]) -> list[str]:
    """The kinds, in order."""
    return [record["kind"] for record in records]


def _check_checkpoint(record: Record, covered: list[bytes], key: Ed25519PublicKey) -> None:
    body = record["body"]
    assert covered
    assert (body["first"], body["last"]) == (record["seq"] - len(covered), record["seq"] - 1)
    assert body["head"] == record["prev"]
    assert body["at"] == record["at"]
    assert body["root"] == _root(covered).hex()
    names = ("writer", "first", "last", "head", "root", "at")
    text = "freehold checkpoint v1\n" + "".join(f"{body[name]}\n" for name in names)
    key.verify(bytes.fromhex(body["signature"]), text.encode())


def _root(lines: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(lines) == 1:
        return hashlib.sha256(b"\x00" + lines[0]).digest()
    split = 1
    while split * 2 < len(lines):
        split *= 2
    return hashlib.sha256(b"\x01" + _root(lines[:split]) + _root(lines[split:])).digest()


def cuts(size: int, step: int) -> Iterator[int]:
    """Places in so many bytes, and the end."""
    yield from range(0, size, step)
    yield size
