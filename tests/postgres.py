"""A real PostgreSQL for tests, and the databases that suites run over.

pytest_plugins = ["tests.postgres"]

def test_reads(usage_url: str | None) -> None:     # runs twice: None is SQLite, a URL is a new database
def test_keeps(home_url: str | None) -> None:      # likewise, for the home's database
def test_survives(postgres: PostgreSQL) -> None:   # a server that may be stopped and started again
"""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from freehold.store.database import Database

_NUMBERS = count(1)
_START_S = 180
_TEMPLATES: dict[Path, str] = {}
"""By the folder of a server, the database that new homes are copied from."""


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """A server in a temporary folder, reached by a Unix socket in it.

    Args:
        folder: data, socket and log.
        port: names the socket.
        programs: where PostgreSQL's programs are.
    """

    folder: Path
    port: int
    programs: Path

    def create(self) -> None:
        """Make the data folder."""
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -p {self.port} -c max_connections=100"
        log = self.folder / "log"
        self._run("pg_ctl", "start", "--wait", f"--timeout={_START_S}", f"--log={log}", f"--options={options}")

    def stop(self) -> None:
        """End it at once, as when its machine fails."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    def new_database(self) -> str:
        """A new, empty database; its URL."""
        name = f"usage_{next(_NUMBERS)}"
        self._run("createdb", f"--host={self.folder}", f"--port={self.port}", "--username=postgres", name, data=False)
        return self._url(name)

    def new_home(self) -> str:
        """A new database with the tables of a home, which copies one that was made before; its URL."""
        if self.folder not in _TEMPLATES:
            url = self.new_database()
            asyncio.run(_migrated(url))
            _TEMPLATES[self.folder] = urlsplit(url).path[1:]
        name = f"home_{next(_NUMBERS)}"
        place = (f"--host={self.folder}", f"--port={self.port}", "--username=postgres")
        self._run("createdb", *place, f"--template={_TEMPLATES[self.folder]}", name, data=False)
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}&port={self.port}"

    def _run(self, program: str, *args: str, data: bool = True) -> None:
        place = [f"--pgdata={self.folder / 'data'}"] if data else []
        # PostgreSQL refuses to run as root.
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*user, str(self.programs / program), *place, *args],
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=2 * _START_S,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs; the newest where there are several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve())
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgreSQL]:
    """One server for the whole session; do not stop it."""
    yield from _served()


@pytest.fixture
def postgres() -> Iterator[PostgreSQL]:
    """A server of the test's own, to be stopped and started."""
    yield from _served()


def _served() -> Iterator[PostgreSQL]:
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: no initdb in /usr/lib/postgresql/*/bin or on PATH")
    folder = Path(tempfile.mkdtemp(prefix="freehold-pg-"))  # short: a socket's path has at most 107 bytes
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    server = PostgreSQL(folder, port, programs)
    server.create()
    server.start()
    try:
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def usage_url(request: pytest.FixtureRequest) -> str | None:
    """Where a usage database is to be: None for the home's SQLite file, or the URL of a new PostgreSQL database."""
    if request.param == "sqlite":
        return None
    server: PostgreSQL = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def home_url(request: pytest.FixtureRequest) -> str | None:
    """Where a home's database is to be: None for SQLite in the home, or the URL of a new PostgreSQL database."""
    if request.param == "sqlite":
        return None
    server: PostgreSQL = request.getfixturevalue("postgres_server")
    return server.new_home()


async def _migrated(url: str) -> None:
    database = await Database.open(Path("none"), url=url)
    await database.close()
