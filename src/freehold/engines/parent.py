"""A process that ends with the one that started it, however that ended."""

import os
import threading
import time

CHECK_S = 0.5


def follow_parent() -> None:
    """Watch, in a thread, for the parent's end; then end this process at once."""
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_S)
    os._exit(0)
