"""The home folder: all state of one Freehold, and the lock that keeps a second process out.

HOME/
  freehold.db      keys, deployments, models (SQLite)
  database.json    where these are instead, if they are on PostgreSQL: where its URL is kept, and this gateway's name
  admin.key        the owner's key of this home, mode 0600
  secrets/pepper   the key under which API keys are hashed, mode 0600
  secrets/journal.pem  the key that signs the journal's checkpoints, mode 0600
  secrets/content  the master key of kept content, unless it is elsewhere, mode 0600
  secrets/picture-root.pem  the key and the certificate of the root of the installation's own signatures, mode 0600
  secrets/picture.pem  the key and the certificate that pictures are signed with, mode 0600
  provenance/      issuer.pem, to verify pictures with
  journal/         the journal: what happened, and public.pem to verify it with
  usage.db         what bills and reports are read from, made from the journal (SQLite)
  models/          verified model files, by their digest
  jobs/            a folder for each job that trains: its examples and checkpoints, removed when it has ended
  cluster/         certificates and the token of a cluster, and this machine as one of its nodes
  machine.json     what `freehold size` measured of this machine
  run/             sockets of engines; server.json while a server runs
  lock             held by the process that uses the home
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from freehold.errors import HomeError


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """Where the running server of a home can be reached."""

    pid: int
    url: str


@dataclass(frozen=True, slots=True)
class Home:
    """Paths in a home folder."""

    root: Path

    @property
    def database(self) -> Path:
        """The database file."""
        return self.root / "freehold.db"

    @property
    def shared_database(self) -> Path:
        """The file that says where the database is, if it is not in the home."""
        return self.root / "database.json"

    @property
    def models(self) -> Path:
        """The folder of model files."""
        return self.root / "models"

    @property
    def jobs(self) -> Path:
        """The folder of jobs that train."""
        return self.root / "jobs"

    @property
    def cluster(self) -> Path:
        """The folder of what belongs to a cluster."""
        return self.root / "cluster"

    def cluster_name(self) -> str:
        """By which what was started for this home is known on a cluster; made where there is none yet."""
        file = self.cluster / "name"
        if not file.exists():
            self.cluster.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(file, secrets.token_hex(6).encode())
        return file.read_text(encoding="ascii")

    @property
    def journal(self) -> Path:
        """The folder of the journal."""
        return self.root / "journal"

    @property
    def journal_key(self) -> Path:
        """The file with the private key that signs checkpoints."""
        return self.root / "secrets" / "journal.pem"

    @property
    def master_key(self) -> Path:
        """The file with the master key of kept content, where the home has it itself."""
        return self.root / "secrets" / "content"

    @property
    def picture_root(self) -> Path:
        """The file with the key and the certificate of the root under which pictures are signed."""
        return self.root / "secrets" / "picture-root.pem"

    @property
    def picture_key(self) -> Path:
        """The file with the key and the certificate that pictures are signed with."""
        return self.root / "secrets" / "picture.pem"

    @property
    def picture_issuer(self) -> Path:
        """The file with the certificates to verify pictures with."""
        return self.root / "provenance" / "issuer.pem"

    @property
    def usage_database(self) -> Path:
        """The usage database, where it is SQLite."""
        return self.root / "usage.db"

    @property
    def run(self) -> Path:
        """The folder of sockets."""
        return self.root / "run"

    @property
    def admin_key(self) -> Path:
        """The file with the owner's key."""
        return self.root / "admin.key"

    @property
    def server_record(self) -> Path:
        """The file that says where the server is."""
        return self.run / "server.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folders and hold the lock.

        Raises:
            HomeError: another process holds it, or the folder cannot be written.
        """
        try:
            for folder in (self.root, self.root / "secrets", self.models, self.run, self.journal):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise HomeError(f"the home folder {self.root} cannot be written: {exc.strerror}") from exc
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HomeError(
                    f"another Freehold process uses the home folder {self.root}; stop it, or use another --home"
                ) from None
            yield
        finally:
            os.close(descriptor)

    def pepper(self) -> bytes:
        """The secret under which API keys are hashed and digests are made; made on first use."""
        return self._secret("pepper")

    @property
    def has_pepper(self) -> bool:
        """Whether that secret was made."""
        return (self.root / "secrets" / "pepper").exists()

    def _secret(self, name: str) -> bytes:
        path = self.root / "secrets" / name
        if not path.exists():
            write_private(path, secrets.token_bytes(32))
        return path.read_bytes()

    def server(self) -> ServerRecord | None:
        """The running server, if there is one."""
        try:
            record = json.loads(self.server_record.read_text(encoding="utf-8"))
            os.kill(record["pid"], 0)
            return ServerRecord(record["pid"], record["url"])
        except (OSError, ValueError, KeyError):
            return None

    def record_server(self, url: str) -> None:
        """Say where the server of this process is."""
        record = json.dumps({"pid": os.getpid(), "url": url})
        write_private(self.server_record, record.encode())

    def forget_server(self) -> None:
        """Take the record back."""
        self.server_record.unlink(missing_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read: whole or not at all, and on the disk when this returns.

    Raises:
        HomeError: it cannot be written, as on a full disk.
    """
    try:
        _write_private(path, data)
    except OSError as exc:
        raise HomeError(f"{path} cannot be written: {exc.strerror}") from exc


def _write_private(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
