"""The home folder."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.errors import HomeError
from freehold.store.home import Home, write_private


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    """The home is closed to others, and so is every secret in it; the pepper stays the same."""
    home = Home(tmp_path / "home")
    with home.locked():
        pepper = home.pepper()
        write_private(home.admin_key, b"fh-x\n")
        assert home.pepper() == pepper
    assert len(pepper) == 32
    assert mode(home.root) == 0o700
    assert mode(home.root / "secrets" / "pepper") == 0o600
    assert mode(home.admin_key) == 0o600


def test_a_home_has_one_process(tmp_path: Path) -> None:
    """While a process holds the home another is refused; when it is killed the home is free again."""
    home = Home(tmp_path / "home")
    code = (
        "import sys, time; from pathlib import Path; from freehold.store.home import Home\n"
        "with Home(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(home.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HomeError, match="another Freehold process"), home.locked():
            pass
    finally:
        holder.kill()
        holder.communicate()
    with home.locked():
        assert home.database.parent == home.root


def test_a_stale_record_of_a_server_is_not_believed(tmp_path: Path) -> None:
    """The server of a home is told only while its process lives."""
    home = Home(tmp_path / "home")
    with home.locked():
        assert home.server() is None
        home.record_server("http://127.0.0.1:1")
        record = home.server()
        assert record is not None
        assert (record.pid, record.url) == (os.getpid(), "http://127.0.0.1:1")
        home.server_record.write_text('{"pid": 4194304, "url": "http://x"}', encoding="utf-8")
        assert home.server() is None
        home.server_record.write_text("{", encoding="utf-8")
        assert home.server() is None
        home.forget_server()
        home.forget_server()


def test_an_unusable_folder_is_told(tmp_path: Path) -> None:
    """A home that cannot be a folder is an error that names it."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(HomeError, match="cannot be written"), Home(tmp_path / "file" / "home").locked():
        pass
