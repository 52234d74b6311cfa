"""Other programs for a benchmark: started, waited for, their processor time counted, ended."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from socket import socket as Socket  # noqa: N812  # a class, in lower case for history's sake

import aiohttp

START_S = 120.0
STOP_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with Socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def running(
    argv: Sequence[str], *, ready: str, log: Path, env: Mapping[str, str] | None = None, socket: Path | None = None
) -> AsyncIterator[int]:
    """Run a program while the block runs, from when an address answers; gives its process id.

    Args:
        argv: the program and its arguments.
        ready: the URL that answers with a status below 500 once the program serves.
        log: where what it prints goes.
        env: its whole environment; this process's where it is not given.
        socket: a Unix socket through which that URL is asked.

    Raises:
        SystemExit: it ended, or did not answer in time; with the end of its log.
    """
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
        )
    try:
        await _answering(process, ready, socket, log)
        yield process.pid
    finally:
        await _end(process)


async def _answering(process: asyncio.subprocess.Process, url: str, path: Path | None, log: Path) -> None:
    deadline = time.monotonic() + START_S
    connector = aiohttp.TCPConnector() if path is None else aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession(connector=connector) as session:
        while time.monotonic() < deadline and process.returncode is None:
            try:
                async with session.get(url, timeout=aiohttp.ClientTimeout(total=5)) as answer:
                    if answer.status < 500:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)
    raise SystemExit(f"{url} does not answer; the end of the program's log:\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program and what it has started; first politely."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the group is its own: what it left behind


def processor_s(pid: int) -> float:
    """The processor time that a process and its living descendants have taken, user and system, in seconds."""
    return sum(_ticks(each) for each in family(pid)) / _TICKS_PER_S


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (10⁶ bytes)."""
    return int(_read(pid, "statm", "0 0").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def family_mb(pid: int) -> float:
    """Resident memory of a process and its living descendants in MB; what they share counts in each."""
    return sum(resident_mb(each) for each in family(pid))


def engine_mb(pid: int) -> float:
    """Resident memory of the largest of a process's descendants in MB: a server's engine, where there is one."""
    return max((resident_mb(each) for each in family(pid) if each != pid), default=0.0)


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, new = [pid], [pid]
    while new:
        new = [child for each in new for child in parents.get(each, ())]
        found += new
    return found


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the program's name, which may hold spaces; none where it is gone."""
    return _read(pid, "stat", ")").rpartition(")")[2].split()


def _ticks(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _read(pid: int, name: str, otherwise: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii", errors="replace")
    except OSError:
        return otherwise
