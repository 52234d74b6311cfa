"""Real nodes of a real Ray cluster on this machine, started and ended by the commands, for tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from freehold.cluster.authority import Authority
from freehold.cluster.ray import RayCluster, RayPlace
from freehold.cluster.ray_node import RunningNode, running_node, stop_node, token_of
from freehold.store.home import Home

HEAD, OTHER = "127.0.0.2", "127.0.0.3"
"""Addresses of this machine that are two machines' to Ray."""
_PORTS_EACH = 60


def command(home: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What `freehold cluster …` says; fails where the command does."""
    argv = [sys.executable, "-m", "freehold", "cluster", *arguments, "--home", str(home)]
    env = {**os.environ, **(environment or {})}
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@dataclass(slots=True)
class Nodes:
    """A cluster of two nodes.

    Args:
        first: the home of the head, which is a gateway's too.
        second: the home of the other.
        port: where the head listens.
        devices: accelerators that each is said to have.
        environment: what their environment has besides this one's.
    """

    first: Path
    second: Path
    port: int
    devices: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Of the head."""
        return f"{HEAD}:{self.port}"

    @property
    def config(self) -> str:
        """What a gateway's configuration says of the cluster."""
        return f'[cluster]\naddress = "{self.address}"\nnode_address = "{HEAD}"\n'

    def cluster(
        self, *, gateway: str = "test", orphan_grace_s: float = 120.0, address: str | None = None
    ) -> RayCluster:
        """The cluster as a gateway of that name has it, on the first home, by another spelling of its address."""
        home = Home(self.first)

        async def authority() -> Authority:
            return Authority.load_or_make(home.cluster)

        token, namespace = token_of(home.cluster), "freehold-test"
        place = RayPlace(
            address or self.address, token, home.cluster, authority, HEAD, 120.0, orphan_grace_s, namespace, gateway
        )
        return RayCluster(place, home.cluster_name())

    def start_head(self) -> None:
        """Start the first node."""
        options = ("--port", str(self.port), "--zone", "eu", *self._sizes(self.port + 1))
        command(self.first, "up", "--head", "--address", HEAD, *options, environment=self.environment)

    def join(self) -> None:
        """Start the second node."""
        token = Home(self.first).cluster / "token"
        options = ("--zone", "us", "--token-file", str(token), *self._sizes(self.port + 2 + _PORTS_EACH))
        command(self.second, "up", "--join", self.address, "--address", OTHER, *options, environment=self.environment)

    def lose_second(self) -> None:
        """Kill everything of the second node at once by SIGKILL, as a machine that loses its power."""
        pid = _node(self.second).pid
        for process in _session(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _sizes(self, first_port: int) -> tuple[str, ...]:
        ports = f"{first_port}-{first_port + _PORTS_EACH - 1}"
        sizes = ("--cores", "6", "--memory", "6000", "--devices", str(self.devices))
        return (*sizes, "--worker-ports", ports)

    def end(self) -> None:
        """End both."""
        for home in (self.second, self.first):
            if running_node(Home(home).cluster) is not None:
                command(home, "down")
            stop_node(Home(home).cluster)


@contextmanager
def two_nodes(folder: Path, devices: int = 0, environment: Mapping[str, str] | None = None) -> Iterator[Nodes]:
    """A cluster of two nodes for the length of a block."""
    nodes = Nodes(folder / "first", folder / "second", _free_ports(), devices, environment or {})
    try:
        nodes.start_head()
        nodes.join()
        yield nodes
    finally:
        nodes.end()


def _node(home: Path) -> RunningNode:
    node = running_node(Home(home).cluster)
    assert node is not None
    return node


def _free_ports() -> int:
    """The first of enough ports on which nobody listens; below those that the system hands out."""
    for first in range(20_000 + os.getpid() % 40 * 200, 32_000, 200):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + 2 * _PORTS_EACH + 4):
                probe = stack.enter_context(socket.socket())
                probe.bind((HEAD, port))
            return first
    raise AssertionError("no ports are free")


def _session(pid: int) -> list[int]:
    """The processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            stat = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            if int(stat[3]) == pid:
                found.append(int(entry.name))
    return found
