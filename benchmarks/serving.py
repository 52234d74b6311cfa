"""A Freehold server for a benchmark, and the machine that it runs on."""

import os
import platform
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from freehold.cli.bench_server import private_server, serve_argv
from freehold.cli.output import ServiceUnreachable


@asynccontextmanager
async def server(
    home: Path, config: str | None = None, *, program: Sequence[str] | None = None
) -> AsyncIterator[tuple[str, str, int]]:
    """Run `freehold serve`, or a `program` on home and configuration, on a free port.

    Gives its URL, the owner's key and its process id.
    """
    argv = serve_argv(home, None if config is None else _config_file(home, config))
    if program is not None:
        argv = [*program, str(home), str(_config_file(home, config or ""))]
    try:
        async with private_server(home, argv) as running:
            yield running.url, running.key, running.pid
    except ServiceUnreachable as exc:
        raise SystemExit(exc.message) from exc


def _config_file(home: Path, config: str) -> Path:
    """A configuration file in the home."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / "benchmark.toml"
    file.write_text(config, encoding="utf-8")
    return file


def machine() -> str:
    """One line about where this was measured."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = platform.platform(terse=True)
    parts = [f"freehold {version('freehold')}", f"xllamacpp {version('xllamacpp')}"]
    return f"{model}, {cores} cores, {memory:.0f} GiB, {system}, Python {platform.python_version()}, {', '.join(parts)}"
