"""Which code trains: versions, and a digest of the modules that decide what is learnt."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]
_DECIDING: Final = ("pretrain.py", "trainer", "language", "data")
_TOLD: Final = ("freehold", "torch")


def code_facts() -> dict[str, str]:
    """The versions of what trains, and the digest of the lines `<digest>  <name>` of its modules, sorted by name."""
    return {name: _version(name) for name in _TOLD} | {"source_sha256": _source_sha256()}


@cache
def _source_sha256() -> str:
    files = [path for part in _DECIDING for path in (_ROOT / part, *(_ROOT / part).rglob("*.py")) if path.is_file()]
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(_ROOT).as_posix()}\n"
        for path in sorted(files)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
