"""This machine as a node of a Ray cluster: started, found, and ended, with everything that Ray started for it here.

Ray's own command stays in the foreground as the parent of its processes, in a session of its own; so only what was
started for this home is ended, whatever else of Ray runs on the machine.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import orjson

from freehold.cluster.ray_process import ray_environment
from freehold.cluster.ray_wire import KIND_LABEL, ZONE_LABEL
from freehold.config import cluster_environment
from freehold.errors import ConfigError, Conflict, Unavailable
from freehold.store.home import write_private

PORT: Final = 6379
STARTED: Final = "will now block forever"
"""What Ray's command writes when the node runs."""
LONGEST_SESSIONS_BYTES: Final = 107 - len("/session_2026-11-28_18-11-23_109869_4194304/sockets/plasma_store")
"""How long the path of the folder may be in which Ray has its own files, its sockets among them."""
_START_S: Final = 120.0
_STOP_S: Final = 20.0
_HEALTH: Final[Mapping[str, str]] = {"RAY_health_check_period_ms": "1000", "RAY_health_check_initial_delay_ms": "2000"}
"""The head asks nodes more often than by Ray's default how they are, so that a lost one is known after some seconds.
How long each may take to answer stays Ray's."""
_RANK: Final[Mapping[str, str]] = {"RAY_worker_niceness": "0"}
"""Engines stand behind no other program of their node; by Ray's default whatever else runs there would go first."""


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """How this machine is to be a node. What is None, Ray finds out.

    Args:
        home: the home folder, for models that come here.
        folder: `HOME/cluster`.
        address: this machine's own address in the cluster.
        head: that of the cluster's head, `HOST:PORT`; None to be the head.
        port: where the head listens, for a head.
        zone: where the machine stands.
        cores: processor cores to give.
        memory_bytes: main memory to give.
        devices: accelerators to give.
        device_kind: of which kind they are.
        ports: the first and the last port of Ray's workers.
        dashboard: whether the head has Ray's dashboard, on 127.0.0.1.
        object_store_bytes: memory in which pieces of models travel.
    """

    home: Path
    folder: Path
    address: str | None
    head: str | None
    port: int = PORT
    zone: str | None = None
    cores: float | None = None
    memory_bytes: int | None = None
    devices: int | None = None
    device_kind: str | None = None
    ports: tuple[int, int] = (10002, 19999)
    dashboard: bool = False
    object_store_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class RunningNode:
    """The node that runs for a home.

    Args:
        pid: of Ray's command.
        head: the address of the cluster's head, `HOST:PORT`.
        address: this machine's own, if it was given.
        is_head: whether it is the head itself.
        sessions: the folder of Ray's own files.
    """

    pid: int
    head: str
    address: str | None
    is_head: bool
    sessions: str


def token_of(folder: Path) -> str:
    """The cluster's token that lies in `HOME/cluster`.

    Raises:
        ConfigError: there is none.
    """
    try:
        return (folder / "token").read_text(encoding="ascii").strip()
    except OSError as exc:
        raise ConfigError(
            f"cluster.token: there is no token in {folder / 'token'}; copy it from the cluster's head",
            param="cluster.token",
        ) from exc


def make_token(folder: Path) -> str:
    """The cluster's token; a new one where there is none yet."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / "token").exists():
        write_private(folder / "token", f"{secrets.token_hex(32)}\n".encode())
    return token_of(folder)


def start_node(order: NodeOrder, token: str) -> RunningNode:
    """Start Ray here, and return when the node runs.

    Raises:
        ConfigError: Ray is not installed.
        Conflict: a node runs for this home already.
        Unavailable: it did not start; says what Ray said last.
    """
    if find_spec("ray") is None:
        raise ConfigError("Ray is not installed here: pip install 'freehold[cluster]'")
    if (running := running_node(order.folder)) is not None:
        raise Conflict(f"A node runs for this home already (process {running.pid}): freehold cluster down")
    stop_node(order.folder)  # removes what one that was killed has left
    order.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sessions = _sessions_folder(order.folder)
    log = order.folder / "node.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ray.scripts.scripts", *ray_arguments(order, sessions)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=cluster_environment({**ray_environment(token), **_HEALTH, **_RANK, "FREEHOLD_HOME": str(order.home)}),
            start_new_session=True,
            cwd=order.folder,
        )
    deadline = time.monotonic() + _START_S
    while STARTED not in (said := log.read_text(encoding="utf-8", errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            _end(process.pid)
            raise Unavailable(f"The node did not start. Ray said: {_last(said)} (all of it is in {log})")
        time.sleep(0.1)
    head = order.head or f"{_own_address(order, said)}:{order.port}"
    node = RunningNode(process.pid, head, order.address, order.head is None, str(sessions))
    write_private(order.folder / "node.json", orjson.dumps(asdict(node)))
    return node


def running_node(folder: Path) -> RunningNode | None:
    """The node that runs for a home; None where none does."""
    node = _recorded(folder)
    if node is None:
        return None
    try:
        command = Path(f"/proc/{node.pid}/cmdline").read_bytes()
    except OSError:
        return None
    return node if b"ray.scripts.scripts" in command else None


def stop_node(folder: Path) -> bool:
    """End the node that runs for a home, with all that Ray started for it; whether there was one."""
    node, recorded = running_node(folder), _recorded(folder)
    (folder / "node.json").unlink(missing_ok=True)
    if node is not None:
        _end(node.pid)
    if recorded is not None:
        shutil.rmtree(recorded.sessions, ignore_errors=True)
    return node is not None


def _recorded(folder: Path) -> RunningNode | None:
    """The node that was started last for a home, unless it was ended."""
    try:
        return RunningNode(**orjson.loads((folder / "node.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def ray_arguments(order: NodeOrder, sessions: Path) -> list[str]:
    """The arguments of Ray's command, which has its own files in the folder `sessions`."""
    labels = {ZONE_LABEL: order.zone, KIND_LABEL: order.device_kind}
    said = ",".join(f"{name}={value}" for name, value in labels.items() if value)
    given: Sequence[tuple[str, object]] = (
        ("--node-ip-address", order.address),
        ("--num-cpus", order.cores if order.cores is None else int(order.cores)),
        ("--memory", order.memory_bytes),
        ("--num-gpus", order.devices),
        ("--labels", said or None),
        ("--object-store-memory", order.object_store_bytes),
        ("--min-worker-port", order.ports[0]),
        ("--max-worker-port", order.ports[1]),
        ("--dashboard-agent-listen-port", 0),
        ("--temp-dir", sessions),
    )
    arguments = ["start", "--block", "--disable-usage-stats", "--log-style", "record", "--log-color", "false"]
    arguments += ["--include-log-monitor", "false"]
    if order.head is None:
        arguments += ["--head", "--port", str(order.port), "--ray-client-server-port", str(order.ports[1] + 1)]
        arguments += ["--include-dashboard", str(order.dashboard).lower(), "--dashboard-host", "127.0.0.1"]
    else:
        arguments += ["--address", order.head]
    for name, value in given:
        if value is not None:
            arguments += [name, str(value)]
    return arguments


def _sessions_folder(folder: Path) -> Path:
    """An empty folder for Ray's own files; where the home's path is too long for Ray's sockets, a temporary one."""
    sessions = folder / "ray"
    if len(os.fsencode(sessions)) > LONGEST_SESSIONS_BYTES:
        return Path(tempfile.mkdtemp(prefix="fh-ray-"))
    shutil.rmtree(sessions, ignore_errors=True)
    return sessions


def _own_address(order: NodeOrder, said: str) -> str:
    """The address that Ray took for this machine."""
    if order.address is not None:
        return order.address
    _, _, rest = said.partition("Local node IP: ")
    return rest.split()[0] if rest else "127.0.0.1"


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "nothing"


def _end(pid: int) -> None:
    """End Ray's command, which ends its processes; kill what is left of their session."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    for member in _session(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def _runs(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _session(pid: int) -> list[int]:
    """The processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            stat = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            if int(stat[3]) == pid:
                found.append(int(entry.name))
    return found
