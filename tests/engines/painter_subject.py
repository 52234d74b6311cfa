"""The starter painter under test: the process with the weights of the package, few steps, one thread."""

import json
import socket as sockets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from freehold.engines.base import EngineSpec
from freehold.engines.painter import PainterEngine
from freehold.types.deployment import DeploymentSettings
from tests.engines.subject import Subject, running, socket_path, wait_open


@contextmanager
def starter_painter(**options: Any) -> Iterator[Subject]:
    """The painter on a Unix socket."""
    settings = DeploymentSettings(
        name="p",
        model="starter-painter",
        engine="painter",
        task="images",
        options={"steps": 4, "threads": 1, **options},
    )
    engine, spec = PainterEngine(), EngineSpec(settings)
    engine.validate(settings)
    with socket_path() as socket, running(engine.launch(spec, socket)) as process:
        wait_open(engine, spec, socket)
        yield Subject(engine, spec, socket, process, "", lambda: _active(socket), lambda _: [])


def _active(socket: Path) -> int:
    with sockets.socket(sockets.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(socket))
        client.sendall(b"GET /stats HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        return int(json.loads(answer.partition(b"\r\n\r\n")[2])["active"])
