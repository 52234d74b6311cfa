"""Folders of checkpoints are there whole or not at all."""

from pathlib import Path

import pytest

from freehold.training.checkpoint_folders import MANIFEST, CheckpointFolders, read_manifest


def write(folders: CheckpointFolders, step: int, text: str = "a") -> Path:
    (folders.begin() / "part").write_text(text)
    return folders.finish(step, {"step": step})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_newest_are_kept(tmp_path: Path) -> None:
    """Older folders go when a newer one stands; of each there is a manifest."""
    folders = CheckpointFolders(tmp_path, keep=2)
    for step in (8, 9, 10, 11):
        write(folders, step)
    assert folders.newest_first() == [(11, tmp_path / "step-11"), (10, tmp_path / "step-10")]
    assert names(tmp_path / "step-11") == {"part", MANIFEST}
    assert read_manifest(tmp_path / "step-11") == {"step": 11}


def test_one_that_is_new_is_never_deleted_for_later_ones(tmp_path: Path) -> None:
    """Who goes on from an earlier step, because later folders are damaged, keeps what is written from there on."""
    folders = CheckpointFolders(tmp_path, keep=1)
    for step in (50, 60, 10, 20):
        write(folders, step)
    assert names(tmp_path) == {"step-60", "step-20"}


def test_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    """The older one is there until the newer is, even if the process is killed between; then it is gone."""
    folders = CheckpointFolders(tmp_path, keep=1)
    write(folders, 5, "old")
    (tmp_path / "step-5").rename(tmp_path / "step-5.old")  # where a killed process may leave it
    assert folders.newest_first() == [(5, tmp_path / "step-5.old")]
    write(folders, 5, "new")
    assert [(path / "part").read_text() for _, path in folders.newest_first()] == ["new"]
    write(folders, 5, "newer")
    assert names(tmp_path) == {"step-5"}
    assert (tmp_path / "step-5" / "part").read_text() == "newer"


def test_what_is_not_finished_does_not_count(tmp_path: Path) -> None:
    """A folder that a killed process filled is no checkpoint, and makes room for the next."""
    folders = CheckpointFolders(tmp_path, keep=2)
    (folders.begin() / "part").write_text("half of")
    (tmp_path / "step-x").mkdir()
    assert folders.newest_first() == []
    assert names(folders.begin()) == set()
    folders.abandon()
    assert names(tmp_path) == {"step-x"}


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_manifest_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    """What cannot be read as an object is an error, never half believed."""
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_manifest(tmp_path)
