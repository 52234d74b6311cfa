"""Checkpoints are there whole or not at all."""

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.training.finetune.checkpoints import FILES, KEPT, CheckpointStore

RECIPE = {"seed": 1, "batch": 8}


def fill(text: str = "a") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name in FILES:
            (folder / name).write_text(f"{text} {name}")
        (folder / "README.md").write_text("not needed")

    return write


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    """What was written last is gone on with, with its metrics and a digest over its files."""
    store = CheckpointStore(tmp_path, RECIPE)
    assert store.newest() is None
    store.write(3, {"train_loss": 2.0}, fill())
    written = store.write(12, {"train_loss": 1.0}, fill("b"))
    found = store.newest()
    assert found == written
    assert (written.step, written.metrics) == (12, {"train_loss": 1.0})
    told = "".join(f"{hashlib.sha256(f'b {name}'.encode()).hexdigest()}  {name}\n" for name in sorted(FILES))
    assert written.sha256 == hashlib.sha256(told.encode()).hexdigest()


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    """Older checkpoints go, and files that nobody needs are not kept."""
    store = CheckpointStore(tmp_path, RECIPE)
    for step in (8, 9, 10, 11):
        store.write(step, {}, fill())
    assert names(tmp_path) == {"step-10", "step-11"}
    assert KEPT == 2
    assert names(tmp_path / "step-11") == {*FILES, "manifest.json"}


def test_a_full_disk_loses_no_earlier_checkpoint(tmp_path: Path) -> None:
    """A checkpoint that cannot be written leaves those before it, and nothing of itself."""
    store = CheckpointStore(tmp_path, RECIPE)
    kept = [store.write(step, {}, fill()) for step in (1, 2)]

    def run_out(folder: Path) -> None:
        (folder / "optimizer.pt").write_text("half of")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.write(3, {}, run_out)
    assert names(tmp_path) == {"step-1", "step-2"}
    assert store.newest() == kept[-1]


@pytest.mark.parametrize("name", [*sorted(FILES), "manifest.json"])
def test_a_checkpoint_that_lacks_a_file_is_passed_over(tmp_path: Path, name: str) -> None:
    """The one before it is gone on with."""
    store = CheckpointStore(tmp_path, RECIPE)
    before = store.write(1, {}, fill())
    store.write(2, {}, fill())
    (tmp_path / "step-2" / name).unlink()
    assert store.newest() == before


def test_a_changed_or_foreign_file_is_never_loaded(tmp_path: Path) -> None:
    """A file that is not as it was written, or that no training writes, such as a pickle, spoils its checkpoint."""
    store = CheckpointStore(tmp_path, RECIPE)
    store.write(1, {}, fill())
    (tmp_path / "step-1" / "optimizer.pt").write_text("b optimizer.pt")
    assert store.newest() is None
    store.write(1, {}, fill())
    (tmp_path / "step-1" / "adapter_model.bin").write_bytes(b"\x80\x04")
    assert store.newest() is None


def test_checkpoints_of_another_training_are_passed_over(tmp_path: Path) -> None:
    """Who changes the recipe begins anew."""
    CheckpointStore(tmp_path, RECIPE).write(1, {}, fill())
    assert CheckpointStore(tmp_path, {**RECIPE, "seed": 2}).newest() is None


def test_an_interrupted_write_is_no_checkpoint(tmp_path: Path) -> None:
    """What a killed process left half written is passed over, and the next write takes its place."""
    store = CheckpointStore(tmp_path, RECIPE)
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "optimizer.pt").write_text("half of")
    (tmp_path / "step-x").mkdir()
    assert store.newest() is None
    store.write(5, {}, fill())
    assert ".partial" not in names(tmp_path)
