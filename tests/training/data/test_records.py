"""Shards of records: what is read is what was written, whatever happened in between."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import ConfigError
from freehold.training.data.records import MANIFEST, RecordShards
from freehold.training.data.writing import PROGRESS, RecordWriter
from tests.disk import fill, small_disk
from tests.training.data.numbered import COUNT, FIELDS, PER_SHARD, PURPOSE, records

PATIENCE_S = 60


def write(folder: Path, stop: int = COUNT, *, step: int = 3) -> RecordWriter:
    """Go on writing up to a number, with a commit at each step."""
    writer = RecordWriter(folder, FIELDS, purpose=PURPOSE, records_per_shard=PER_SHARD)
    for start in range(writer.state or 0, stop, step):
        writer.append("training", records(start, min(step, COUNT - start)))
        writer.commit(start + min(step, COUNT - start))
    return writer


def write_on(writer: RecordWriter, start: int) -> None:
    """All that is left, with a commit at each record."""
    for number in range(start, COUNT):
        writer.append("training", records(number, 1))
        writer.commit(number + 1)


def content(folder: Path) -> dict[str, bytes]:
    """All files, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards that were written without a break."""
    folder = tmp_path_factory.mktemp("whole")
    write(folder).finish({"made": "here"})
    return folder


def test_what_is_read_is_what_was_written(whole: Path) -> None:
    """Every stretch of records is read as it was written, also across the borders of files."""
    shards = RecordShards.open(whole, verify=True)
    assert shards.records("training") == COUNT
    assert shards.records("validation") == 0
    assert shards.facts == {"made": "here"}
    for start, length in [(0, COUNT), (9, 2), (5, 30), (40, 7), (3, 0), (COUNT, 0)]:
        expected = records(start, length)
        assert np.array_equal(shards.read("training", "picture", start, length), expected["picture"])
        assert np.array_equal(shards.read("training", "caption", start, length), expected["caption"])
    taken = shards.take("training", "caption", np.array([46, 0, 12]))
    assert taken.tolist() == [46_000, 0, 12_000]


def test_a_stretch_within_a_file_is_not_copied(whole: Path) -> None:
    """What lies in one file is a view of it, and cannot be written to."""
    found = RecordShards.open(whole).read("training", "picture", 11, 5)
    assert not found.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


def test_records_that_are_not_there_are_an_error(whole: Path) -> None:
    """A stretch that goes beyond the end is refused instead of being shortened."""
    with pytest.raises(IndexError, match="of 47"):
        RecordShards.open(whole).read("training", "caption", 40, 8)


@given(stops=st.lists(st.integers(0, COUNT), max_size=3), step=st.integers(6, 20), torn=st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_going_on_gives_the_same_bytes(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, stops: list[int], step: int, torn: int
) -> None:
    """However often it stops, and whatever lies behind the last commit, the files end as if it had never stopped."""
    folder = tmp_path_factory.mktemp("broken")
    for stop in sorted(stops):
        with write(folder, stop, step=step) as writer:
            if (writer.state or 0) < COUNT:
                writer.append("training", records(writer.state or 0, 1))
        for path in folder.glob("*.bin"):
            path.write_bytes(path.read_bytes() + bytes(torn))
    write(folder, step=step).finish({"made": "here"})
    assert content(folder) == content(whole)


KILLED = """
import sys
from pathlib import Path
from tests.training.data.numbered import FIELDS, PER_SHARD, PURPOSE, COUNT, records
from freehold.training.data.writing import RecordWriter
with RecordWriter(Path(sys.argv[1]), FIELDS, purpose=PURPOSE, records_per_shard=PER_SHARD) as writer:
    for number in range(writer.state or 0, COUNT):
        writer.append("training", records(number, 1))
        writer.commit(number + 1)
        print(number, flush=True)
    writer.finish({"made": "here"})
"""


def test_kills_lose_nothing(whole: Path, tmp_path: Path) -> None:
    """Killed while it writes, the same program goes on and gives the same bytes."""
    draw, kills = random.Random(2), 0
    while not (tmp_path / MANIFEST).exists():
        with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(draw.randrange(8, 20)):
                process.stdout.readline()
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            process.wait(PATIENCE_S)
    assert kills
    assert content(tmp_path) == content(whole)


def test_a_full_disk_keeps_what_was_committed(whole: Path, tmp_path: Path) -> None:
    """A full disk is told as such, and once there is room the same program goes on to the same bytes."""
    with small_disk(tmp_path / "small", megabytes=1) as place:
        folder = place / "data"
        writer = write(folder, 12)
        state = writer.state
        ballast = fill(place)
        with writer, pytest.raises(ConfigError, match="is full"):
            write_on(writer, 12)
        ballast.unlink()
        with RecordWriter(folder, FIELDS, purpose=PURPOSE, records_per_shard=PER_SHARD) as again:
            assert again.state == state
        write(folder).finish({"made": "here"})
        assert content(folder) == content(whole)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    """Who would write something else into a folder that is half written is told, and nothing is changed."""
    write(tmp_path, 20).close()
    before = content(tmp_path)
    with pytest.raises(ConfigError, match="other sources or settings"):
        RecordWriter(tmp_path, FIELDS, purpose={"seed": 8}, records_per_shard=PER_SHARD)
    assert content(tmp_path) == before


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    """A folder that is being written is refused to a second writer."""
    with write(tmp_path, 6), pytest.raises(ConfigError, match="another process is writing"):
        write(tmp_path)


def test_complete_shards_are_not_written_over(whole: Path) -> None:
    """A folder with complete data is not written to."""
    with pytest.raises(ConfigError, match="complete data already"):
        write(whole)


def test_damage_is_found(tmp_path: Path) -> None:
    """A file that lost its end is found at once, a changed one when digests are asked for, and each is named."""
    write(tmp_path).finish({})
    file = tmp_path / "training-00002.caption.bin"
    raw = bytearray(file.read_bytes())
    raw[3] ^= 1
    file.write_bytes(raw)
    RecordShards.open(tmp_path)
    with pytest.raises(ConfigError, match=f"{file.name} is not what was written"):
        RecordShards.open(tmp_path, verify=True)
    file.write_bytes(raw[:-1])
    with pytest.raises(ConfigError, match=f"{file.name} has 39 bytes instead of 40"):
        RecordShards.open(tmp_path)
    file.unlink()
    with pytest.raises(ConfigError, match=f"{file.name} is missing"):
        RecordShards.open(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "freehold-shards-1"}', "\ud83d"])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    """A file that is no manifest is told with its path."""
    (tmp_path / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=MANIFEST):
        RecordShards.open(tmp_path)


def test_half_written_data_are_not_read(tmp_path: Path) -> None:
    """A folder that was not finished has no data."""
    write(tmp_path, 20).close()
    with pytest.raises(ConfigError, match="no complete training data"):
        RecordShards.open(tmp_path)


def test_lost_files_of_half_written_data_are_told(tmp_path: Path) -> None:
    """A committed file that is shorter than it was is not gone on with."""
    write(tmp_path, 20).close()
    assert json.loads((tmp_path / PROGRESS).read_bytes())["state"] == 21
    os.truncate(tmp_path / "training-00001.caption.bin", 8)
    with pytest.raises(ConfigError, match="shorter than it was"):
        write(tmp_path)
