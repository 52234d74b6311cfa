"""The verifier on logs that are as they were written, and on what cannot be verified."""

import asyncio
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from freehold.config import JournalSettings
from freehold.journal.records import Kind
from freehold.journal.verify import Report, Unusable, describe, verify
from tests.journal.journals import admitted, opened, receipt
from tests.journal.logs import Log, canonical, path_of, sample_log, write_key


def only(reports: Iterable[Report]) -> Report:
    """The report of the only log."""
    (report,) = reports
    return report


def sound(report: Report) -> Report:
    """A report without damage."""
    assert report.damage is None, str(report.damage)
    return report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sample_log().write(tmp_path / "journal")


def test_a_log_is_summed_up(folder: Path) -> None:
    """The report counts records, receipts, checkpoints and segments, and says from when to when they are."""
    report = sound(only(verify(folder)))
    assert (report.writer, report.records, report.first, report.last) == ("main", 26, 1, 26)
    assert (report.receipts, report.checkpoints, report.segments, report.uncovered) == (8, 5, 3, 0)
    assert (report.begins, report.ends) == ("2026-11-24T08:00:00.000001Z", "2026-11-24T08:00:00.000026Z")
    assert describe(report)[-1] == "verified"


def test_the_journal_that_freehold_writes_is_verified(tmp_path: Path) -> None:
    """A journal of several segments, with a request that was interrupted, passes in each of its forms."""

    async def write() -> None:
        settings = JournalSettings(segment_bytes=64 * 1024, checkpoint_records=7)
        async with opened(tmp_path, settings) as journal:
            for number in range(150):
                journal.submit(Kind.ADMITTED, admitted(number), durable=False)
                await journal.submit(Kind.RECEIPT, receipt(number), durable=True)
            await journal.submit(Kind.ADMITTED, admitted(150), durable=True)
        async with opened(tmp_path, settings):
            pass

    asyncio.run(write())
    report = sound(only(verify(tmp_path / "journal", public_key=tmp_path / "journal" / "public.pem")))
    assert report.receipts == 151
    assert report.segments > 1
    assert report.notes == []
    assert sound(only(verify(tmp_path / "journal" / "main"))).records == report.records


def test_a_key_from_elsewhere_is_enough_said_and_one_from_the_copy_is_not(folder: Path, tmp_path: Path) -> None:
    """Without --public-key the report says that it proves inner consistency only; with it, as PEM or hex, nothing."""
    log = sample_log()
    pem = write_key(log.key, tmp_path / "kept.pem")
    digits = tmp_path / "kept.hex"
    digits.write_text(log.public.hex() + "\n")
    assert "only that the copy agrees with itself" in only(verify(folder)).notes[0]
    assert sound(only(verify(folder, public_key=pem))).notes == []
    assert sound(only(verify(folder, public_key=digits))).notes == []


def test_a_log_is_verified_in_each_of_its_forms(folder: Path, tmp_path: Path) -> None:
    """A writer's folder, an archive, a file with all lines and a single segment are verified like the whole folder."""
    archive = tmp_path / "copy.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "journal")
    whole = tmp_path / "all.jsonl"
    whole.write_bytes(b"".join(path_of(folder, number).read_bytes() for number in (1, 2, 3)))
    for path in (folder, folder / "main", archive, whole):
        assert sound(only(verify(path))).records == 26
    part = sound(only(verify(path_of(folder, 2))))
    assert (part.first, part.last) == (16, 21)
    assert any("begins at record 16" in note for note in part.notes)


def test_each_writer_has_a_report(folder: Path) -> None:
    """A journal that two processes write has two logs, and a checkpoint is held against its own writer's."""
    other = Log(writer="second")
    other.segment()
    anchor = other.checkpoint()
    other.write(folder)
    kept = folder.parent / "kept.json"
    kept.write_bytes(canonical(anchor))
    assert [sound(report).writer for report in verify(folder, checkpoint=kept)] == ["main", "second"]


def test_records_after_the_last_checkpoint_are_counted(folder: Path) -> None:
    """What no signature covers yet is told as such, with the requests that have not ended."""
    log = sample_log()
    log.add("admitted", {"request_id": "h"})
    log.request("i")
    log.write(folder)
    report = sound(only(verify(folder)))
    assert report.uncovered == 3
    assert "3 records not yet covered by a signature" in report.notes
    assert "1 requests have begun and not ended" in report.notes


def test_the_torn_end_of_a_live_journal_is_a_note(folder: Path) -> None:
    """A last line that is not written to its end damages nothing."""
    with path_of(folder, 3).open("ab") as file:
        file.write(b'{"at":"2026-11-24T08:00:00.000027Z","bo')
    report = sound(only(verify(folder)))
    assert any("ends within a line" in note for note in report.notes)


def test_the_torn_end_of_a_segment_that_others_follow_is_damage(folder: Path) -> None:
    """A line without an end is no note where the log goes on in another segment."""
    with path_of(folder, 2).open("ab") as file:
        file.write(b'{"at":"2026')
    damage = only(verify(folder)).damage
    assert damage is not None
    assert (damage.file, damage.line, damage.seq, damage.kind) == ("main/00000002.jsonl", 7, 22, "edited")


def test_a_kept_checkpoint_that_is_in_the_log_is_well(folder: Path, tmp_path: Path) -> None:
    """Every checkpoint of the log, kept elsewhere, agrees with it."""
    for line in sample_log().lines:
        record = json.loads(line)
        if record["kind"] == "checkpoint":
            kept = tmp_path / "kept.json"
            kept.write_text(json.dumps(record["body"], indent=2))
            sound(only(verify(folder, checkpoint=kept)))


def _retired(folder: Path, **changes: object) -> Log:
    """The sample log whose first segment was deleted, as the service does it, with changes of what it says of that."""
    log = sample_log()
    head = json.loads(log.segments[1][0])["prev"]
    log.add("retired", {"number": 1, "first": 1, "last": 15, "head": head, "reason": "age", **changes})
    log.checkpoint()
    log.write(folder)
    path_of(folder, 1).unlink()
    return log


def test_a_log_whose_first_segments_were_retired_is_well(folder: Path) -> None:
    """A log that begins late passes where a `retired` record tells of the segment before."""
    _retired(folder)
    report = sound(only(verify(folder)))
    assert (report.first, report.segments) == (16, 2)
    assert any("begins at record 16" in note for note in report.notes)


def test_a_retired_record_that_does_not_fit_is_damage(folder: Path) -> None:
    """A `retired` record that names another last record or hash than what is missing is named."""
    for change in ({"last": 14}, {"head": "0" * 64}):
        _retired(folder, **change)
        damage = only(verify(folder)).damage
        assert damage is not None
        assert (damage.seq, damage.kind) == (27, "rewritten")
        path_of(folder, 1).write_bytes(b"")


def test_a_request_that_a_crash_ended_must_have_its_receipt(tmp_path: Path) -> None:
    """After `recovered`, no request begins while one that was open is without its receipt."""
    log = Log()
    log.segment()
    log.add("admitted", {"request_id": "a"})
    log.add("recovered", {"cut_bytes": 0, "interrupted": 1})
    log.add("admitted", {"request_id": "b"})
    log.checkpoint()
    damage = only(verify(log.write(tmp_path))).damage
    assert damage is not None
    assert (damage.seq, damage.kind) == (4, "receipts")
    assert "a should have its receipt" in damage.what


def test_an_interrupted_request_without_a_receipt_at_the_end_is_damage(tmp_path: Path) -> None:
    """A recovery that settles nothing of what was open is found at the log's end."""
    log = Log()
    log.segment()
    log.add("admitted", {"request_id": "a"})
    log.add("recovered", {"cut_bytes": 0, "interrupted": 1})
    log.checkpoint()
    damage = only(verify(log.write(tmp_path))).damage
    assert damage is not None
    assert damage.kind == "receipts"


def test_open_requests_are_taken_over_from_the_segment_before(folder: Path) -> None:
    """The request that began in segment 1 counts as open in segment 2 read alone, and ends there."""
    report = sound(only(verify(path_of(folder, 2))))
    assert not any("not ended" in note for note in report.notes)


def test_a_segment_that_forgets_an_open_request_is_damage(tmp_path: Path) -> None:
    """A `segment` record whose `carried.open` leaves out a request that is open is named."""
    log = Log()
    log.segment()
    log.add("admitted", {"request_id": "a"})
    log.checkpoint()
    log.segment(carried={"open": {}, "recent": {}, "spent": {}})
    log.checkpoint()
    damage = only(verify(log.write(tmp_path))).damage
    assert damage is not None
    assert (damage.seq, damage.kind) == (4, "receipts")


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"line": 1}'])
def test_what_is_no_journal_is_told_as_such(tmp_path: Path, content: str) -> None:
    """An empty folder, a missing file, an archive of nothing and a file of another kind cannot be verified."""
    other = tmp_path / "other.json"
    other.write_text(content)
    (tmp_path / "copy.tar.gz").write_text(content)
    for path in (other, tmp_path, tmp_path / "missing", tmp_path / "copy.tar.gz"):
        with pytest.raises(Unusable):
            verify(path)


def test_a_key_or_a_checkpoint_that_is_none_is_told_as_such(folder: Path, tmp_path: Path) -> None:
    """Files that hold no key, another kind of key, no checkpoint, or one of another writer cannot be used."""
    file = tmp_path / "file"
    for content in ("", "ab" * 31, "-----BEGIN PUBLIC KEY-----", "{}"):
        file.write_text(content)
        with pytest.raises(Unusable, match="key"):
            verify(folder, public_key=file)
    with pytest.raises(Unusable, match="holds no checkpoint"):
        verify(folder, checkpoint=file)
    other = Log(writer="other")
    other.segment()
    file.write_bytes(canonical(other.checkpoint()))
    with pytest.raises(Unusable, match="'other'"):
        verify(folder, checkpoint=file)


def test_a_checkpoint_older_than_the_log_cannot_be_compared(folder: Path, tmp_path: Path) -> None:
    """A kept checkpoint of a segment that was retired is refused with the advice to take a newer one."""
    log = _retired(folder)
    kept = tmp_path / "kept.json"
    kept.write_bytes(canonical(json.loads(log.lines[7])["body"]))
    with pytest.raises(Unusable, match="give a newer checkpoint"):
        verify(folder, checkpoint=kept)
