"""Folders for temporary files."""

import subprocess
import sys
from pathlib import Path

from freehold.engines.scratch import PREFIX, remove_left_behind, scratch_folder

_MAKES_ONE = """
import sys
from pathlib import Path
from freehold.engines.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "large.bin").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_it_is_gone_at_the_end(tmp_path: Path) -> None:
    """While the block runs there is a folder that nobody removes, and then there is none."""
    with scratch_folder(tmp_path) as folder:
        remove_left_behind(tmp_path)
        assert folder.is_dir()
        assert folder.parent == tmp_path
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """The folder of a process that runs stays; once it is killed, whoever makes a folder next removes its own."""
    process = subprocess.Popen([sys.executable, "-c", _MAKES_ONE, str(tmp_path)], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    theirs = Path(process.stdout.readline().strip())
    with scratch_folder(tmp_path):
        assert (theirs / "large.bin").is_file()
    process.kill()
    process.communicate()
    assert theirs.is_dir()
    with scratch_folder(tmp_path):
        assert not theirs.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_of_this_kind_stays(tmp_path: Path) -> None:
    """Files and links of such a name, and folders without a lock, are left alone."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "in-use").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}new").mkdir()
    remove_left_behind(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
