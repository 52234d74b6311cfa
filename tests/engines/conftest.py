"""The engines that the shared suite (`test_contract.py`) runs on.

To add an engine, write a factory: a context manager that takes options of the engine, starts its process, waits
until it is ready and yields a `Subject`. Put it into `FACTORIES`. A factory of an engine that needs a model on this
machine calls `pytest.skip` where there is none. An engine that is slow to start goes into `SLOW` as well.
"""

import json
import socket as sockets
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from freehold.engines.base import EngineSpec, Launch
from freehold.engines.echo import EchoEngine
from freehold.engines.echo_model import token_id, tokenize
from freehold.engines.remote import RemoteEngine
from freehold.types.deployment import DeploymentSettings
from tests.conftest import StarterModels
from tests.engines.llamacpp_models import llamacpp
from tests.engines.openvino_text import openvino
from tests.engines.painter_subject import starter_painter
from tests.engines.subject import Subject, running, socket_path, wait_open
from tests.engines.vllm_subject import vllm

LONG = " ".join(f"word{number}" for number in range(400))
CONTEXT_LENGTH = 1000
PACE_S = 0.002
"""Between two tokens, so that a stream can be broken off in its middle."""


def _echo_argv(*where: str, **options: Any) -> tuple[str, ...]:
    spec = EngineSpec(
        DeploymentSettings(
            name="e", model="echo", engine="echo", context_length=CONTEXT_LENGTH, options={"delay_s": PACE_S, **options}
        )
    )
    launched = EchoEngine().launch(spec, Path("unused")).argv
    at = launched.index("--socket")
    return (*launched[:at], *where, *launched[at + 2 :])


def _active_over_http(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=30) as answer:
        return int(json.load(answer)["active"])


def _active_over_socket(socket: Path) -> int:
    with sockets.socket(sockets.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(socket))
        client.sendall(b"GET /stats HTTP/1.1\r\nhost: engine\r\n\r\n")
        return int(json.loads(client.recv(65536).partition(b"\r\n\r\n")[2])["active"])


def _ids(text: str) -> list[int]:
    return [token_id(token) for token in tokenize(text)]


@contextmanager
def echo(**options: Any) -> Iterator[Subject]:
    """The echo engine on a Unix socket."""
    settings = DeploymentSettings(
        name="echo", model="echo", engine="echo", context_length=CONTEXT_LENGTH, options={"delay_s": PACE_S, **options}
    )
    engine, spec = EchoEngine(), EngineSpec(settings)
    engine.validate(settings)
    with socket_path() as socket, running(engine.launch(spec, socket)) as process:
        wait_open(engine, spec, socket)
        yield Subject(engine, spec, socket, process, LONG, lambda: _active_over_socket(socket), _ids)


@contextmanager
def remote(**options: Any) -> Iterator[Subject]:
    """The remote engine, with an echo server over TCP as somebody else's endpoint."""
    with running(Launch(_echo_argv("--port", "0", **options))) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        settings = DeploymentSettings(
            name="remote",
            model="echo",
            engine="remote",
            context_length=CONTEXT_LENGTH,
            base_url=f"http://127.0.0.1:{port}/v1",
        )
        engine, spec = RemoteEngine(), EngineSpec(settings, api_key="sk-theirs")
        engine.validate(settings)
        wait_open(engine, spec, Path("unused"))
        yield Subject(engine, spec, Path("unused"), process, LONG, lambda: _active_over_http(port), _ids)


FACTORIES: dict[str, Callable[..., AbstractContextManager[Subject]]] = {
    "echo": echo,
    "remote": remote,
    "llamacpp": llamacpp,
    "openvino": openvino,
    "painter": starter_painter,
    "vllm": vllm,
}
SLOW: frozenset[str] = frozenset({"llamacpp", "openvino", "painter"})

_PARAMETERS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in FACTORIES]


def _start(request: pytest.FixtureRequest) -> AbstractContextManager[Subject]:
    """The engine that the parameter names, with the starter model where it needs one."""
    if request.param in {"llamacpp", "openvino"}:
        models: StarterModels = request.getfixturevalue("starter_models")
        return FACTORIES[request.param](models.chat)
    return FACTORIES[request.param]()


@pytest.fixture(scope="session", params=_PARAMETERS)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each engine, started once for all tests."""
    with _start(request) as started:
        yield started


@pytest.fixture(params=_PARAMETERS)
def doomed_subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each engine, started for one test that ends it."""
    with _start(request) as started:
        yield started


@pytest.fixture
def start_echo() -> Callable[..., AbstractContextManager[Subject]]:
    """Starts an echo engine with options of the test's own."""
    return echo
