"""The cores that this process may use."""

import os
from pathlib import Path


def logical_cores() -> int:
    """What the system calls processors: with hyper-threading two are one core."""
    return len(_allowed())


def physical_cores() -> int:
    """The physical cores: two threads of one core are slower than one."""
    cores = set()
    for cpu in _allowed():
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            cores.add((topology / "physical_package_id").read_text() + (topology / "core_id").read_text())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


def _allowed() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
