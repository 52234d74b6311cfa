"""How tests start the vLLM engine: with the program of `vllm_program` in the place of vLLM."""

import json
import os
import re
import socket as sockets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from freehold.config import engine_environment
from freehold.engines.base import EngineSpec, Launch
from freehold.engines.echo_model import token_id, tokenize
from freehold.engines.vllm import VllmEngine
from freehold.types.deployment import DeploymentSettings
from tests.catalog.making import safetensors_bytes
from tests.engines.subject import Subject, running, socket_path, wait_open

ROOT = Path(__file__).resolve().parents[2]
LONG = " ".join(f"word{number}" for number in range(400))
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "max_position_embeddings": 1000,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "torch_dtype": "bfloat16",
}
_PROGRAM = "from tests.engines.vllm_program import main\n\nmain()\n"
_ACTIVE = re.compile(r"^vllm:num_requests_running\{[^}]*\} ([0-9.]+)$", re.MULTILINE)


def lay_vllm(folder: Path) -> dict[str, str]:
    """Lay the program where Python finds it as vLLM's; the environment in which it does."""
    place = folder / "vllm" / "entrypoints" / "cli"
    place.mkdir(parents=True, exist_ok=True)
    for each in (place, place.parent, place.parent.parent):
        (each / "__init__.py").touch()
    (place / "main.py").write_text(_PROGRAM, encoding="utf-8")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def lay_model(folder: Path, **config: Any) -> Path:
    """A model's folder as a hub has it, of one small tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(safetensors_bytes())
    return folder


def settings_of(**given: Any) -> DeploymentSettings:
    """The settings of a deployment on vLLM."""
    return DeploymentSettings.model_validate({"name": "local", "model": "local", "engine": "vllm", **given})


def metrics(socket: Path) -> str:
    """The metrics of a server, asked for in a way of its own."""
    with sockets.socket(sockets.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(socket))
        client.sendall(b"GET /metrics HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def active(socket: Path) -> int:
    """How many requests the server works on."""
    found = _ACTIVE.search(metrics(socket))
    assert found is not None, "the server has no such metric"
    return int(float(found[1]))


@contextmanager
def vllm(adapter: Path | None = None, config: dict[str, Any] | None = None, **given: Any) -> Iterator[Subject]:
    """The vLLM engine with a small model and settings of the deployment; it takes tools where nothing else is said."""
    with tempfile.TemporaryDirectory(prefix="fh") as place:
        folder = Path(place)
        environment, model = lay_vllm(folder / "python"), lay_model(folder / "model", **(config or {}))
        settings = settings_of(**{"options": {"tool_call_parser": "hermes"}, **given})
        engine, spec = VllmEngine(), EngineSpec(settings, model, "00" * 32, adapter=adapter)
        engine.validate(settings)
        with socket_path() as socket:
            launch = engine.launch(spec, socket)
            with running(replace(launch, env={**launch.env, **environment})) as process:
                wait_open(engine, spec, socket)
                yield Subject(engine, spec, socket, process, LONG, lambda: active(socket), _ids)


def refusal(spec: EngineSpec) -> str:
    """What the process says that was started for a specification which cannot be served."""
    with tempfile.TemporaryDirectory(prefix="fh") as place, socket_path() as socket:
        launch = VllmEngine().launch(spec, socket)
        return said(replace(launch, env={**launch.env, **lay_vllm(Path(place))}))


def said(launch: Launch) -> str:
    """What a process writes that ends by itself, having failed."""
    with subprocess.Popen(
        launch.argv, env=engine_environment(launch.env), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        text = process.stderr.read().decode()  # its input stays open as long as it runs: the gateway is there
    assert process.returncode not in {0, -9}, text
    return text


def _ids(text: str) -> list[int]:
    return [token_id(token) for token in tokenize(text)]
