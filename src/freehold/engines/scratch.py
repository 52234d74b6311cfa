"""A folder among temporary files that is gone when its process is, or as soon as the next one makes a folder.

A process that is killed removes nothing, and what it leaves may be as large as a model. So each folder has a file that
its process holds locked: a lock ends with its process, however that ends, and folders whose lock is free are removed.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PREFIX: Final = "freehold-network-"
LOCK: Final = "in-use"


@contextmanager
def scratch_folder(among: Path | None = None) -> Iterator[Path]:
    """A folder while the block runs; before, those that others left behind are removed.

    Args:
        among: where; by default among temporary files.

    Raises:
        OSError: there is no room.
    """
    place = among or Path(tempfile.gettempdir())
    remove_left_behind(place)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as made, Path(made, f"{LOCK}.new").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(made, f"{LOCK}.new").rename(Path(made, LOCK))  # nobody sees it unlocked
        yield Path(made)


def remove_left_behind(place: Path) -> None:
    """Remove this user's folders whose processes are gone; what cannot be removed stays."""
    for folder in place.glob(f"{PREFIX}*"):
        try:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:
            continue
