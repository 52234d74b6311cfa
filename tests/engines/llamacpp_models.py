"""How tests start the llama.cpp engine, and ask its server by a way of their own."""

import socket as sockets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from freehold.engines.base import EngineSpec
from freehold.engines.llamacpp import LlamaCppEngine
from freehold.types.deployment import DeploymentSettings
from tests.engines.subject import Subject, running, socket_path, wait_open


def ask(socket: Path, path: str, body: Any = None) -> Any:
    """The answer of a server on a Unix socket, by a way of its own."""
    data = b"" if body is None else orjson.dumps(body)
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nhost: e\r\nconnection: close\r\n"
    with sockets.socket(sockets.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(socket))
        client.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    return orjson.loads(answer.partition(b"\r\n\r\n")[2])


def busy_slots(socket: Path) -> int:
    """How many sequences llama.cpp's server is generating."""
    return sum(slot["is_processing"] for slot in ask(socket, "/slots"))


@contextmanager
def llamacpp(weights: Path, **settings: Any) -> Iterator[Subject]:
    """The llama.cpp engine with a model file and settings of the deployment."""
    deployment = DeploymentSettings(name="local", model="local", **{"context_length": 1024, **settings})
    engine, spec = LlamaCppEngine(), EngineSpec(deployment, weights, "00" * 32)
    engine.validate(deployment)
    with socket_path() as socket, running(engine.launch(spec, socket)) as process:
        wait_open(engine, spec, socket)
        yield Subject(
            engine,
            spec,
            socket,
            process,
            "Write a very long story about a fox. Once upon a time, there was",
            lambda: busy_slots(socket),
            lambda text: list(ask(socket, "/tokenize", {"content": text})["tokens"]),
        )
