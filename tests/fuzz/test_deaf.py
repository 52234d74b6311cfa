"""A caller who asks and never reads: its request ends in time, and so does its connection."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.service import ECHO_CONFIG, Service, eventually

pytestmark = [pytest.mark.slow, pytest.mark.long]

LONG = {"model": "echo", "messages": [{"role": "user", "content": "word " * 20_000}], "n": 128}
"""Its answer is longer than what the system keeps of it for a caller who does not read."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A server whose requests may take six seconds."""
    config = ECHO_CONFIG.replace("[server]", "[server]\nrequest_timeout_s = 6")
    with Service(tmp_path / "home", config) as running:
        yield running
        assert running.stop(signal.SIGTERM) == 0


def connections(service: Service) -> int:
    """How many callers' connections the server has, on whichever side they are open."""
    own = {str(target) for target in _sockets(service)}
    lines = Path(f"/proc/{service.process.pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(fields[3] != "0A" and f"socket:[{fields[9]}]" in own for fields in map(str.split, lines))


def _sockets(service: Service) -> list[Path]:
    found = []
    for link in Path(f"/proc/{service.process.pid}/fd").iterdir():
        try:
            found.append(link.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def test_a_caller_who_never_reads_is_let_go(service: Service) -> None:
    """When a request's time is up, its caller's connection is closed though nothing more can be sent to it."""
    data = json.dumps({**LONG, "stream": True}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    ).encode()
    place = urlsplit(service.url)
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.connect((place.hostname, place.port))
        wire.sendall(head + data)
        eventually(lambda: connections(service) == 1, "the caller is there")
        eventually(lambda: connections(service) == 0, "the connection is closed", patience_s=180)
