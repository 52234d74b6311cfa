"""Checks of the machine and of what is installed on it."""

import os
import platform
import re
import shutil
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from freehold.cli.checks.result import Finding, fail, ok, warn
from freehold.cli.tables import in_bytes

_LITTLE_MEMORY_BYTES = 2_000_000_000
_LITTLE_DISK_BYTES = 2_000_000_000
_FAST_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
"""CPU features that make models fast, as Linux names them."""


def check_machine(home: Path) -> list[Finding]:
    """Python, platform, processor, memory, disk and packages."""
    return [_python(), _platform(), _processor(), _memory(), _disk(home), _packages()]


def _python() -> Finding:
    return ok("python", f"{platform.python_version()} ({sys.executable})")


def _platform() -> Finding:
    found = platform.platform()
    if sys.platform.startswith(("linux", "darwin")):
        return ok("platform", found)
    return fail("platform", found, "Freehold runs on Linux and macOS; on Windows use WSL")


def _processor() -> Finding:
    """How many cores this process may use, and which features make them fast."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = _read("/proc/cpuinfo")
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    listed = re.search(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
    flags = [flag for flag in _FAST_FLAGS if listed and flag in listed[1].split()]
    found = f"{name[1] if name else platform.machine()}, {cores} cores" + (f", {' '.join(flags)}" if flags else "")
    if listed and platform.machine() in {"x86_64", "AMD64"} and "avx2" not in flags:
        return warn(
            "cpu", found, "models will be slow without AVX2; use a newer processor, or expose its flags to the VM"
        )
    return ok("cpu", found)


def _memory() -> Finding:
    """The memory that this process may use: the machine's, or its container's if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    usable = min(total, int(limit)) if limit.isdigit() else total
    found = in_bytes(usable) + (" (limit of the container)" if usable < total else "")
    if usable < _LITTLE_MEMORY_BYTES:
        return warn("memory", found, "the starter models need about 1 GB; give the machine or container more")
    return ok("memory", found)


def _disk(home: Path) -> Finding:
    """Room where the home is, or will be."""
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    found = f"{in_bytes(free)} free at {place}"
    if free < _LITTLE_DISK_BYTES:
        return warn("disk", found, "models need room: free some, or use another --home")
    return ok("disk", found)


def _packages() -> Finding:
    """The versions of the packages that matter most, and whether any required one is missing; extras are not."""
    lines = [line for line in metadata.requires("freehold") or [] if "extra ==" not in line]
    required = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines]
    versions: dict[str, str] = {}
    missing = []
    for name in required:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return fail("packages", f"missing: {', '.join(missing)}", "install them: 'make setup', or pip install freehold")
    shown = ("xllamacpp", "gguf", "fastapi", "uvicorn", "pydantic", "aiohttp")
    return ok(
        "packages",
        ", ".join(f"{name} {versions[name]}" for name in ("freehold", *shown) if name in versions)
        + f"; all {len(required)} installed",
    )


def _read(path: str) -> str:
    """A file's text; empty where there is no such file."""
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""
