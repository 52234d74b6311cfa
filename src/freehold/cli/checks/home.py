"""Checks of the home folder: may it be used, is it safe, is its database this version's."""

import fcntl
import os
import sqlite3
from pathlib import Path

from freehold.cli.checks.result import Finding, fail, ok, warn
from freehold.cli.tables import in_bytes
from freehold.store.home import Home
from freehold.store.migrate import HEAD, known_revisions


def check_home(root: Path) -> list[Finding]:
    """The folder, its secrets, its lock and its database. Changes nothing."""
    home = Home(root)
    if not root.exists():
        return [_parent(root)]
    return [_folder(root), _key(home), *_lock(home), _database(home)]


def _parent(root: Path) -> Finding:
    """Whether a home that is not there yet can be made."""
    place = next(folder for folder in root.parents if folder.exists())
    if os.access(place, os.W_OK | os.X_OK):
        return ok("home", f"{root} does not exist yet; 'freehold serve' makes it")
    return fail("home", f"{root} cannot be made: {place} is not writable", "set FREEHOLD_HOME, or use --home")


def _folder(root: Path) -> Finding:
    if not root.is_dir():
        return fail("home", f"{root} is not a folder", "move it away, or use another --home")
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return fail("home", f"{root} is not writable", f"run as its owner, or: chown -R $(id -u) {root}")
    mode = root.stat().st_mode & 0o777
    if mode & 0o022:
        return warn("home", f"{root} (mode {mode:o}) can be changed by others", f"chmod 700 {root}")
    return ok("home", f"{root} (mode {mode:o})")


def _key(home: Home) -> Finding:
    path = home.admin_key
    if not path.exists():
        return ok("admin key", "none yet; 'freehold serve' makes one")
    if not os.access(path, os.R_OK):
        return fail("admin key", f"{path} cannot be read", "run as its owner")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return fail("admin key", f"{path} (mode {mode:o}) is open to others", f"chmod 600 {path}")
    return ok("admin key", f"{path} (mode {mode:o})")


def _lock(home: Home) -> list[Finding]:
    """Whether a process uses the home, and whether it is the server that wrote down its address."""
    try:
        descriptor = os.open(home.root / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    except OSError as exc:
        return [fail("lock", f"{home.root / 'lock'} cannot be opened: {exc.strerror}", "run as the home's owner")]
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        server = home.server()
        return [ok("lock", f"held by the server, process {server.pid}" if server else "held by another command")]
    finally:
        os.close(descriptor)
    return [ok("lock", "free: no server runs on this home")]


def _database(home: Home) -> Finding:
    """The schema's revision, and whether SQLite finds the file whole."""
    path = home.database
    if not path.exists():
        return ok("database", "none yet; 'freehold serve' makes it")
    restore = "stop the server and restore the newest backup of the home: freehold restore FILE --replace"
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            whole = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as exc:
        return fail("database", f"{path} cannot be read: {exc}", restore)
    if whole != ("ok",):
        return fail("database", f"{path} is damaged: {whole[0]}", restore)
    found = revision[0] if revision else "none"
    if found not in known_revisions():
        return fail("database", f"schema {found} is not this version's", "install the Freehold that wrote it")
    if found != HEAD:
        return ok("database", f"schema {found}; 'freehold serve' brings it to {HEAD}")
    return ok("database", f"schema {found}, {in_bytes(path.stat().st_size)}")
