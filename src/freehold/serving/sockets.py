"""Where the Unix sockets of the engines lie."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

SOCKET_PATH_BYTES = 100
"""The longest path used; the system's limit is 104 on macOS and 108 on Linux, both with a zero at the end."""
_LONGEST_NAME = "e999999.sock"


class SocketFolder:
    """Hands out paths for sockets in a folder that only this user can enter.

    Args:
        run_dir: the folder to use, made if missing; where its path is too long for a socket, a private
            temporary folder takes its place.
    """

    def __init__(self, run_dir: Path) -> None:
        self._numbers = itertools.count(1)
        self._temporary = len(os.fsencode(run_dir / _LONGEST_NAME)) > SOCKET_PATH_BYTES
        if self._temporary:
            self.path = Path(tempfile.mkdtemp(prefix="fh-"))
        else:
            run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path = run_dir

    def new(self) -> Path:
        """A path that no other replica of this run has; what an earlier run left there is removed."""
        socket = self.path / f"e{next(self._numbers)}.sock"
        socket.unlink(missing_ok=True)
        return socket

    def close(self) -> None:
        """Remove the temporary folder, if there is one."""
        if self._temporary:
            shutil.rmtree(self.path, ignore_errors=True)
