"""What a soak looks at while it runs: memory, descriptors, sockets, threads, what runs, grants, slots, backlog."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import family
from benchmarks.soak.subject import DEPLOYMENTS, Subject

CLOSE_WAIT: Final = "08"
"""Of `/proc/net/tcp`: the other side has closed, and this one has not."""
WORKER: Final = b"freehold.worker"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a server; what is counted of processes is the sum over those that take requests.

    Args:
        at_s: when, in seconds since the first.
        asks: how many requests had been begun.
        memory_mb: their proportional set size, in MB (10⁶ bytes).
        engines_mb: the same of the engines.
        descriptors: how many are open, by kind: sockets, pipes, files, others.
        close_wait: connections that the other side has closed and the server has not.
        threads: of the processes.
        in_flight: requests that run, by the metric.
        lent: requests that replicas work on, and that wait for one, by the deployments' status.
        grants: open reservations of requests and money, by the limits' use; micro-units and requests alike.
        lag: records that the usage database lacks.
        records: of the journal.
        disk_mb: of the home.
    """

    at_s: float
    asks: int
    memory_mb: float
    engines_mb: float
    descriptors: Mapping[str, int]
    close_wait: int
    threads: int
    in_flight: int
    lent: int
    grants: int
    lag: int
    records: int
    disk_mb: float

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return asdict(self)

    @property
    def open(self) -> int:
        """All descriptors."""
        return sum(self.descriptors.values())

    @property
    def files(self) -> int:
        """Those of files."""
        return self.descriptors.get("files", 0)

    @property
    def at_rest(self) -> bool:
        """Whether nothing runs, nothing is reserved, and the usage database has everything."""
        return not (self.in_flight or self.lent or self.grants or self.lag or self.close_wait)


class Watch:
    """Takes samples of a server."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._started = time.monotonic()
        self.samples: list[Sample] = []

    async def look(self, asks: int) -> Sample:
        """Take a sample and keep it."""
        subject = self._subject
        metrics = await subject.get("/metrics")
        status = await subject.get("/admin/status")
        deployments = [await subject.get(f"/admin/deployments/{name}") for name in DEPLOYMENTS]
        limits = (await subject.get("/admin/limits"))["data"]
        gateways, engines = _processes(subject.pid)
        found = Sample(
            at_s=round(time.monotonic() - self._started, 2),
            asks=asks,
            memory_mb=sum(map(proportional_mb, gateways)),
            engines_mb=sum(map(proportional_mb, engines)),
            descriptors=descriptors(gateways),
            close_wait=sum(map(_close_wait, gateways)),
            threads=sum(map(_threads, gateways)),
            in_flight=_metric(metrics, "freehold_requests_in_flight"),
            lent=sum(each["in_flight"] + each["waiting"] for each in deployments),
            grants=sum(map(_reserved, limits)),
            lag=status["usage"]["lag_records"],
            records=status["journal"]["records"],
            disk_mb=sum(file.stat().st_size for file in _files(subject.home)) / 1e6,
        )
        self.samples.append(found)
        return found


def _processes(pid: int) -> tuple[list[int], list[int]]:
    """The processes that take requests, and the others that the server has started."""
    gateways, engines = [pid], list[int]()
    for each in family(pid)[1:]:
        (gateways if WORKER in _bytes(f"/proc/{each}/cmdline") else engines).append(each)
    return gateways, engines


def proportional_mb(pid: int) -> float:
    """The memory of a process, with its part of what it shares; 0 where it is gone."""
    found = re.search(rb"^Pss:\s+(\d+) kB", _bytes(f"/proc/{pid}/smaps_rollup"), re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def descriptors(pids: Iterable[int]) -> dict[str, int]:
    """How many descriptors processes have open, by kind."""
    found: Counter[str] = Counter()
    for target in (target for pid in pids for target in _targets(pid)):
        kind = target.partition(":")[0]
        found[f"{kind}s" if kind in {"socket", "pipe"} else "files" if target.startswith("/") else "others"] += 1
    return dict(sorted(found.items()))


def _targets(pid: int) -> list[str]:
    """What the descriptors of a process are."""
    found = []
    for link in _entries(Path(f"/proc/{pid}/fd")):
        try:
            found.append(str(link.readlink()))
        except OSError:
            continue  # closed meanwhile
    return found


def _close_wait(pid: int) -> int:
    """How many of a process's connections only the other side has closed."""
    own = {target[8:-1] for target in _targets(pid) if target.startswith("socket:[")}
    count = 0
    for name in ("tcp", "tcp6"):
        for line in _bytes(f"/proc/{pid}/net/{name}").decode().splitlines()[1:]:
            fields = line.split()
            count += fields[3] == CLOSE_WAIT and fields[9] in own
    return count


def _threads(pid: int) -> int:
    return len(_entries(Path(f"/proc/{pid}/task")))


def _metric(text: str, name: str) -> int:
    """A metric's value, summed over its labels."""
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line)))


def _reserved(limit: Mapping[str, Any]) -> int:
    """What is open of a limit's grants; the money of a day is that of its month, too."""
    used = limit["used"]
    if used is None:
        return 0
    return int(used["concurrent_requests"]) + round(float(used["budget_per_month_reserved"]) * 1_000_000)


def _files(folder: Path) -> Sequence[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
