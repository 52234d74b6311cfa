"""The processes that tests fork."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.forked import freehold, start_command

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at descriptors in /proc")
def test_a_process_that_has_ended_leaves_no_descriptor(tmp_path: Path) -> None:
    """After many commands as many files are open as after the second."""
    opened = []
    for _ in range(6):
        assert freehold(tmp_path, "keys", "list", "--no-such-option").returncode == 2
        opened.append(len(list(Path("/proc/self/fd").iterdir())))
    assert max(opened) <= opened[1] + 2


def test_a_process_is_waited_for_and_ended(tmp_path: Path) -> None:
    """Its signal is its status, as with `subprocess`; one that goes on does not end in time."""
    process = start_command(["serve", "--home", str(tmp_path), "--port", "0"], os.environ, tmp_path / "log")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    process.kill()
    assert (process.wait(60), process.poll()) == (-9, -9)
