"""The verifier on logs that somebody has changed: it says no, and names the first bad record."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.journal.verify import Damaged, verify
from tests.journal.logs import Log, canonical, digest, path_of, sample_log, write_key

SAMPLE = sample_log()
PLACES = [(number, line) for number, lines in enumerate(SAMPLE.segments, 1) for line in range(1, len(lines) + 1)]
"""Segment and line of each record, in order."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return SAMPLE.write(tmp_path / "journal")


def damage_of(folder: Path, **given: Path) -> Damaged:
    """The damage that is found in a log that has some."""
    (report,) = verify(folder, **given)
    assert report.damage is not None
    return report.damage


def named(damage: Damaged) -> tuple[int, str]:
    """Which record is named and what was done to it; the file and the line must be that record's."""
    return damage.seq, damage.kind


def change(folder: Path, number: int, how: Callable[[list[bytes]], None]) -> None:
    """Change the lines of a segment."""
    path = path_of(folder, number)
    lines = path.read_bytes().splitlines()
    how(lines)
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def kept(tmp_path: Path, seq: int) -> Path:
    """A checkpoint record's body in a file elsewhere."""
    path = tmp_path / "kept.json"
    path.write_bytes(canonical(json.loads(SAMPLE.lines[seq - 1])["body"]))
    return path


def _another(value: Any) -> Any:
    """A value of the same type that is not the given one."""
    if isinstance(value, dict):
        return {**value, "x": 1}
    if isinstance(value, str):
        return ("1" if value[-1] == "0" else "0").join((value[:-1], "")) if value else "x"
    return value + 1


@pytest.mark.parametrize("name", ["seq", "prev", "at", "kind", "body"])
@pytest.mark.parametrize("seq", range(1, 26))
def test_an_edit_of_any_field_of_any_record_names_the_record(folder: Path, seq: int, name: str) -> None:
    """A record that stays a canonical record, with one field changed, is named with its file and line."""
    record = json.loads(SAMPLE.lines[seq - 1])
    record[name] = "admin" if name == "kind" else _another(record[name])
    if canonical(record) == SAMPLE.lines[seq - 1]:
        record[name] = "closed"
    number, line = PLACES[seq - 1]
    change(folder, number, lambda lines: lines.__setitem__(line - 1, canonical(record)))
    damage = damage_of(folder)
    assert (damage.file, damage.line) == (f"main/{number:08d}.jsonl", line)
    assert damage.kind in {"edited", "rewritten", "deleted", "inserted"}


@pytest.mark.parametrize("seq", range(2, 25))
def test_an_edit_of_what_a_receipt_says_names_it_as_edited(folder: Path, seq: int) -> None:
    """A changed value in a body that breaks nothing but the chain is told as an edit of that record."""
    record = json.loads(SAMPLE.lines[seq - 1])
    if record["kind"] not in {"receipt", "admin"}:
        return
    record["body"]["status"] = 201
    number, line = PLACES[seq - 1]
    change(folder, number, lambda lines: lines.__setitem__(line - 1, canonical(record)))
    assert named(damage_of(folder)) == (seq, "edited")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_changed_byte_is_found(folder: Path, data: st.DataObject) -> None:
    """Whatever byte of a covered log becomes another one, the log is not verified, and the place is named."""
    number = data.draw(st.integers(1, 3))
    whole = b"".join(line + b"\n" for line in SAMPLE.segments[number - 1])
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    path_of(folder, number).write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    damage = damage_of(folder)
    path_of(folder, number).write_bytes(whole)
    assert damage.file == f"main/{number:08d}.jsonl"
    assert damage.line == whole[:place].count(b"\n") + 1


def test_the_time_of_the_last_checkpoint_is_held(folder: Path) -> None:
    """The last record has none behind it that holds its hash: its signature holds its time."""
    seq = len(SAMPLE.lines)
    record = json.loads(SAMPLE.lines[-1])
    assert record["kind"] == "checkpoint"
    record["at"] = _another(record["at"][:-1]) + "Z"
    change(folder, 3, lambda lines: lines.__setitem__(-1, canonical(record)))
    assert named(damage_of(folder)) == (seq, "rewritten")
    record["body"]["at"] = record["at"]
    change(folder, 3, lambda lines: lines.__setitem__(-1, canonical(record)))
    assert named(damage_of(folder)) == (seq, "rewritten")


def test_any_other_last_byte_is_found(folder: Path) -> None:
    """What stands in the place of the log's last newline is damage, and not taken for a write that was cut short."""
    path = path_of(folder, 3)
    whole = path.read_bytes()
    for byte in set(range(256)) - {whole[-1]}:
        path.write_bytes(whole[:-1] + bytes([byte]))
        assert damage_of(folder).line == len(SAMPLE.segments[2]), byte


@pytest.mark.parametrize("seq", [2, 3, 7, 8, 9, 12, 14, 19])
def test_a_deleted_line_is_told_as_a_deletion(folder: Path, seq: int) -> None:
    """Without one line, the record after it is named, with the number of what is missing."""
    number, line = PLACES[seq - 1]
    change(folder, number, lambda lines: lines.__delitem__(line - 1))
    damage = damage_of(folder)
    assert named(damage) == (seq + 1, "deleted")
    assert (damage.file, damage.line) == (f"main/{number:08d}.jsonl", line)
    assert f"records {seq} to {seq}" in damage.what


def test_a_deleted_first_line_is_told_as_a_deletion(folder: Path) -> None:
    """A log that does not begin with a segment's record lacks its beginning."""
    change(folder, 1, lambda lines: lines.__delitem__(0))
    assert named(damage_of(folder)) == (2, "deleted")


def test_a_deleted_checkpoint_at_the_end_of_a_segment_is_found(folder: Path) -> None:
    """Without the checkpoint at its end, a segment that another one follows is not whole."""
    change(folder, 1, lambda lines: lines.__delitem__(-1))
    assert named(damage_of(folder)) == (16, "deleted")


def test_a_segment_that_is_missing_in_the_middle_is_told(folder: Path) -> None:
    """Without its second segment, a log is not whole, whether the third one takes its name or not."""
    path_of(folder, 2).unlink()
    damage = damage_of(folder)
    assert named(damage) == (22, "deleted")
    assert "segment 2 is missing" in damage.what
    path_of(folder, 3).rename(path_of(folder, 2))
    assert named(damage_of(folder)) == (22, "deleted")


def test_a_missing_first_segment_is_told(folder: Path) -> None:
    """A log that begins late, and holds no record of a retired segment, lacks what was before."""
    path_of(folder, 1).unlink()
    assert named(damage_of(folder)) == (16, "deleted")


def test_swapped_segments_are_told(folder: Path) -> None:
    """Segments that bear each other's names are found at the first of them."""
    path_of(folder, 2).rename(path_of(folder, 9))
    path_of(folder, 3).rename(path_of(folder, 2))
    path_of(folder, 9).rename(path_of(folder, 3))
    damage = damage_of(folder)
    assert (damage.file, damage.line, damage.kind) == ("main/00000002.jsonl", 1, "reordered")


@pytest.mark.parametrize(("one", "other"), [(3, 4), (2, 7), (4, 9), (9, 12)])
def test_two_swapped_lines_are_told_as_reordered(folder: Path, one: int, other: int) -> None:
    """The first of the two places is named, next to each other or far apart."""

    def swap(lines: list[bytes]) -> None:
        lines[one - 1], lines[other - 1] = lines[other - 1], lines[one - 1]

    change(folder, 1, swap)
    damage = damage_of(folder)
    assert named(damage) == (other, "reordered")
    assert damage.line == one


@pytest.mark.parametrize("claimed", [5, 6, 99])
def test_an_inserted_record_is_told_as_inserted(folder: Path, claimed: int) -> None:
    """A forged record between two true ones is named, with the number before, the one after or any other."""
    prev = digest(SAMPLE.lines[4 if claimed == 6 else 3])
    forged = canonical({**json.loads(SAMPLE.lines[2]), "seq": claimed, "prev": prev, "body": {"request_id": "z"}})
    change(folder, 1, lambda lines: lines.insert(5, forged))
    damage = damage_of(folder)
    assert damage.kind == "inserted"
    assert damage.line == 6


def test_a_repeated_record_is_told_as_inserted(folder: Path) -> None:
    """A true record that stands twice is one too many, next to itself or further on."""
    for place in (3, 12):
        change(folder, 1, lambda lines, place=place: lines.insert(place, SAMPLE.lines[2]))  # type: ignore[misc]
        damage = damage_of(folder)
        assert (damage.line, damage.kind) == (place + 1, "inserted")
        SAMPLE.write(folder)


def rechained(changed: int, *, body: dict[str, Any], key: Ed25519PrivateKey | None = None) -> Log:
    """The sample log with one body changed and all that follows made anew; checkpoints keep their signature."""
    log = Log(key=key or SAMPLE.key)
    for seq, line in enumerate(SAMPLE.lines, 1):
        record = json.loads(line)
        if record["kind"] == "checkpoint":
            true = log.checkpoint()
            forged = {**true, "signature": record["body"]["signature"]} if key is None and seq > changed else true
            record = json.loads(log.lines[-1])
            log.lines[-1] = log.segments[-1][-1] = canonical({**record, "body": forged})
        elif record["kind"] == "segment" and key is not None:
            log.segment()
        else:
            log.add(record["kind"], {**record["body"], **(body if seq == changed else {})})
            log.first = seq if record["kind"] == "segment" else log.first
    return log


def test_a_log_made_anew_without_the_key_fails_at_the_next_checkpoint(folder: Path) -> None:
    """Whoever makes the chain and the trees anew, but cannot sign, is found at the checkpoint after the change."""
    rechained(10, body={"status": 200}).write(folder)
    damage = damage_of(folder)
    assert named(damage) == (13, "rewritten")
    assert "signature over the records 9 to 12" in damage.what


def test_a_log_made_anew_with_another_key_needs_the_true_key_to_be_found(folder: Path, tmp_path: Path) -> None:
    """Whoever replaces the key, too, is found with the key or a checkpoint that was kept elsewhere."""
    log = rechained(10, body={"status": 200}, key=Ed25519PrivateKey.generate())
    log.write(folder)
    (report,) = verify(folder)
    assert report.damage is None
    pem = write_key(SAMPLE.key, tmp_path / "kept.pem")
    assert named(damage_of(folder, public_key=pem)) == (1, "key")
    assert named(damage_of(folder, checkpoint=kept(tmp_path, 8))) == (1, "key")


def test_a_replaced_key_file_is_found(folder: Path) -> None:
    """A public key in the copy that is not the one in the log is named at the first record."""
    write_key(Ed25519PrivateKey.generate(), folder / "public.pem")
    assert named(damage_of(folder)) == (1, "key")


def test_a_log_rewritten_with_the_true_key_is_found_with_a_kept_checkpoint(folder: Path, tmp_path: Path) -> None:
    """Even the service itself cannot change what a kept checkpoint has signed."""
    log = Log()
    log.segment()
    for name in ("x", "b", "c", "d", "e"):
        log.request(name)
    log.checkpoint()
    log.write(folder)
    for number in (2, 3):
        path_of(folder, number).unlink()
    (report,) = verify(folder)
    assert report.damage is None
    assert named(damage_of(folder, checkpoint=kept(tmp_path, 8))) == (7, "rewritten")


def test_a_cut_end_is_found_with_a_kept_checkpoint_only(folder: Path, tmp_path: Path) -> None:
    """Without its last segment, or its last lines, a log is a shorter log, unless a checkpoint of the rest was kept."""
    path_of(folder, 3).unlink()
    (report,) = verify(folder, checkpoint=kept(tmp_path, 15))
    assert report.damage is None
    assert named(damage_of(folder, checkpoint=kept(tmp_path, 26))) == (21, "truncated")
    change(folder, 2, lambda lines: lines.__delitem__(slice(2, None)))
    (report,) = verify(folder)
    assert report.damage is None
    assert named(damage_of(folder, checkpoint=kept(tmp_path, 21))) == (17, "truncated")


def test_a_second_receipt_is_found(folder: Path) -> None:
    """A request that has two receipts is found even in a log that its own key has signed."""
    log = sample_log()
    log.add("receipt", {"request_id": "b", "outcome": "finished"})
    log.checkpoint()
    log.write(folder)
    damage = damage_of(folder)
    assert named(damage) == (27, "receipts")
    assert "b has a receipt already, record 5" in damage.what


def test_a_removed_receipt_is_found(folder: Path) -> None:
    """A receipt that is taken out breaks the chain; one that was never written is missed after a crash."""
    change(folder, 1, lambda lines: lines.__delitem__(4))
    assert named(damage_of(folder)) == (6, "deleted")
    log = Log()
    log.segment()
    log.add("admitted", {"request_id": "a"})
    log.add("recovered", {"cut_bytes": 0, "interrupted": 0})
    log.checkpoint()
    for number in (2, 3):
        path_of(folder, number).unlink()
    log.write(folder)
    assert named(damage_of(folder)) == (3, "receipts")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"seq": 3}',
        SAMPLE.lines[2].replace(b'"status":200', b'"status":200.0'),
        SAMPLE.lines[2].replace(b'"status":200', b'"status":NaN'),
        SAMPLE.lines[2].replace(b"\xc3\xab", b"\xff"),
        SAMPLE.lines[2].replace(b"\xc3\xab", b"\\ud800"),
        SAMPLE.lines[2].replace(b'"seq":3', b'"seq":"3"'),
        SAMPLE.lines[2].replace(b'"seq":3', b'"seq":true'),
        SAMPLE.lines[2].replace(b'"seq":3', b'"seq":3,"x":1'),
        SAMPLE.lines[2].replace(b'"receipt"', b'"surprise"'),
        SAMPLE.lines[2].replace(b":00.", b":00,"),
        SAMPLE.lines[2] + b" ",
        SAMPLE.lines[2] + b"\r",
        b" " + SAMPLE.lines[2],
    ],
)
def test_a_line_that_is_no_canonical_record_is_named(folder: Path, line: bytes) -> None:
    """Broken JSON, fractions, other spellings, unknown kinds and wrong types are edits of that line."""
    change(folder, 1, lambda lines: lines.__setitem__(2, line))
    damage = damage_of(folder)
    assert (damage.line, *named(damage)) == (3, 3, "edited")
