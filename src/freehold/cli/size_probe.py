"""What this machine does, measured once and remembered in the home: for `freehold size`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from freehold.catalog.sizing import MachineSpeed
from freehold.cli.output import print_note
from freehold.errors import FreeholdError

_FILE: Final = "machine.json"
_TIMEOUT_S: Final = 120.0


class MachineNotMeasured(FreeholdError):
    """The process that measures the machine failed."""

    default_code = "machine_not_measured"


def machine_speed(home: Path, *, again: bool = False) -> MachineSpeed:
    """What the machine does; measured where it is not known, or was measured on another one.

    Args:
        home: where it is remembered, if there is such a home.
        again: measure even so.

    Raises:
        MachineNotMeasured: it cannot be measured.
    """
    file, mark = home / _FILE, machine_mark()
    known = None if again else _remembered(file, mark)
    if known is None:
        print_note("Measuring this machine, a few seconds…")
        known = {**_measured(), "machine": mark}
        if home.is_dir():
            file.write_text(json.dumps(known) + "\n", encoding="utf-8")
    return MachineSpeed(int(known["cores"]), memory_in_all(), float(known["bandwidth_bytes_s"]), float(known["flops"]))


def memory_in_all() -> int | None:
    """Bytes of memory; None where the system does not tell."""
    return _meminfo("MemTotal")


def memory_available() -> int | None:
    """Bytes of memory that programs may take now; None where the system does not tell."""
    return _meminfo("MemAvailable")


def _meminfo(name: str) -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def machine_mark() -> str:
    """What tells machines apart: the processor and how many of its cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name} x {cores}"


def _remembered(file: Path, mark: str) -> dict[str, Any] | None:
    """What was measured on this machine; None where nothing was, or the file is not what it should be."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        usable = found["machine"] == mark and found["cores"] > 0 and min(found["bandwidth_bytes_s"], found["flops"]) > 0
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found) if usable else None


def _measured() -> dict[str, Any]:
    """Ask the process that measures."""
    argv = [sys.executable, "-m", "freehold.cli.size_machine"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)
        return dict(json.loads(done.stdout))
    except (subprocess.SubprocessError, ValueError) as exc:
        told = (getattr(exc, "stderr", None) or str(exc)).strip().rpartition("\n")[2]
        raise MachineNotMeasured(f"this machine could not be measured: {told}") from exc
