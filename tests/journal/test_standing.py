"""How a journal stands, read from its files."""

from pathlib import Path

import orjson
import pytest

from freehold.journal.standing import _PIECE_BYTES as PIECE_BYTES
from freehold.journal.standing import Signed, standing


def line(seq: int, kind: str, **body: object) -> bytes:
    """A record's line."""
    record = {"seq": seq, "prev": "0" * 64, "at": "2026-11-28T07:00:00.000000Z", "kind": kind, "body": body}
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS) + b"\n"


def checkpoint(last: int) -> bytes:
    """The line of a checkpoint."""
    return line(last + 1, "checkpoint", last=last, at=f"time {last}", head=f"{last:064x}")


def test_an_empty_folder_has_nothing(tmp_path: Path) -> None:
    """No segment, no byte, no checkpoint; and a segment without a checkpoint has none either."""
    assert standing(tmp_path) == standing(tmp_path)
    assert (standing(tmp_path).segments, standing(tmp_path).checkpoint) == (0, None)
    (tmp_path / "00000001.jsonl").write_bytes(line(1, "segment"))
    assert (standing(tmp_path).segments, standing(tmp_path).checkpoint) == (1, None)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """Where the newest one cannot be read, the one before it is told; what is wrong a verification says."""
    damaged = line(6, "checkpoint", last="x")
    (tmp_path / "00000001.jsonl").write_bytes(line(1, "segment") + checkpoint(3) + damaged)
    assert standing(tmp_path).checkpoint == Signed(3, "time 3", f"{3:064x}")
    (tmp_path / "00000001.jsonl").write_bytes(line(1, "segment") + checkpoint(3) + damaged[:30] + b"?" + damaged[30:])
    assert standing(tmp_path).checkpoint == Signed(3, "time 3", f"{3:064x}")


@pytest.mark.parametrize("size", [10, PIECE_BYTES - 200, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
@pytest.mark.parametrize("torn", [b"", b'{"kind":"checkpoint","torn', b"x" * (PIECE_BYTES + 5)])
def test_the_newest_checkpoint_is_found(tmp_path: Path, size: int, torn: bytes) -> None:
    """However much stands behind it, in whole records, in text that looks like one, or in a line without an end."""
    look_alike = line(4, "admin", text='"kind":"checkpoint"' + "y" * size)
    (tmp_path / "00000001.jsonl").write_bytes(line(1, "segment") + checkpoint(1))
    (tmp_path / "00000002.jsonl").write_bytes(line(3, "segment") + checkpoint(3) + look_alike + torn)
    found = standing(tmp_path)
    assert found.checkpoint == Signed(3, "time 3", f"{3:064x}")
    assert (found.segments, found.size_bytes) == (2, sum(path.stat().st_size for path in tmp_path.iterdir()))
    (tmp_path / "00000003.jsonl").write_bytes(line(5, "segment") + look_alike + torn)
    assert standing(tmp_path).checkpoint == found.checkpoint
