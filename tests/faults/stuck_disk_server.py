"""A Freehold server whose kernel begins no sync of the journal while there is a file `stuck` in the home; for tests.

python -m tests.faults.stuck_disk_server HOME CONFIG
"""

import sys
from pathlib import Path

from freehold.config import load_settings
from freehold.journal.kernel_sync import KernelDisk, KernelSync
from freehold.server import run

STUCK = Path(sys.argv[1]) / "stuck"


class StuckSync(KernelSync):
    """The kernel's own syncs, begun when the disk is stuck no more; nobody is told of that."""

    def __init__(self) -> None:
        super().__init__()
        self._held: int | None = None

    def begin(self, file: int) -> None:
        if STUCK.exists():
            self._held = file
        else:
            super().begin(file)

    def end(self) -> int | None:
        if self._held is not None and not STUCK.exists():
            super().begin(self._held)
            self._held = None
        return super().end()


def _stuck_sync(_disk: KernelDisk) -> KernelSync | None:
    return StuckSync()


if __name__ == "__main__":
    KernelDisk.kernel_sync = _stuck_sync  # type: ignore[method-assign, assignment]  # in this process
    settings = load_settings(Path(sys.argv[2]))
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0})})
    sys.exit(run(Path(sys.argv[1]), settings, announce=lambda _: None))
