"""The cores that this process may use, and in which short numbers they compute."""

import os
from pathlib import Path
from typing import Final

_SIGNS: Final = {
    "bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "f16": frozenset({"avx512_fp16", "amx_fp16", "asimdhp"}),
}
"""What /proc/cpuinfo has of processors that compute in it, x86 and ARM."""


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


def short_precisions() -> list[str]:
    """`bf16` and `f16`, each where the processor has instructions for it; none where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    flags = next(
        (set(line.partition(":")[2].split()) for line in lines if line.startswith(("flags", "Features"))), set()
    )
    return [name for name, signs in _SIGNS.items() if flags & signs]


def _allowed() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
