"""`freehold backup` and `freehold restore` as they are typed."""

import os
import pty
import select
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import ARGV, ECHO_CONFIG, Program
from tests.disk import fill, small_disk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A home with two keys whose server has ended."""
    folder = tmp_path_factory.mktemp("backed-up")
    (folder / "freehold.toml").write_text(ECHO_CONFIG)
    program = Program(folder / "home")
    program.fine("keys", "create", "app")
    return program


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "backup.key"
    file.write_bytes(os.urandom(32))
    return file


@pytest.fixture
def backup(used: Program, key: Path, tmp_path: Path) -> Path:
    """An encrypted backup of it."""
    file = tmp_path / "a.backup"
    used.fine("backup", str(file), "--key-file", str(key))
    return file


def elsewhere(program: Program, home: Path) -> Program:
    """The program on another home."""
    return Program(home, program.env)


def test_a_backup_is_made_verified_and_restored(used: Program, key: Path, tmp_path: Path) -> None:
    """Without a server: the file is its owner's, is whole, and becomes a home with the same keys and configuration."""
    file, config = tmp_path / "a.backup", used.home.parent / "freehold.toml"
    told = used.fine("backup", str(file), "--key-file", str(key), "--config", str(config))
    assert "encrypted" in told
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"fh-" not in file.read_bytes()
    found = used.json("backup", "--verify", str(file), "--key-file", str(key))
    assert found["configuration"] == "freehold.toml"
    new = elsewhere(used, tmp_path / "new")
    told = new.fine("restore", str(file), "--key-file", str(key))
    assert f"into {new.home}" in told
    assert "VALID AGAIN" in told
    restored, kept = (each.json("keys", "list")["data"] for each in (new, used))
    assert [{**row, "last_used_at": None} for row in restored] == [{**row, "last_used_at": None} for row in kept]
    assert (new.home / "freehold.toml").read_text() == ECHO_CONFIG
    assert new.fine("audit", "verify").splitlines()[-1] == "verified"
    new.fine("reconcile")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_backup_goes_through_a_pipe(used: Program, key: Path, tmp_path: Path) -> None:
    """With - the backup is written to stdout, and read from stdin by both commands; nothing else is in it."""
    made = subprocess.run(
        [*ARGV, "backup", "-", "--key-file", str(key)], env=used.environment, capture_output=True, check=True
    )
    assert b"encrypted" in made.stderr
    for command in (["backup", "--verify", "-"], ["restore", "-", "--home", str(tmp_path / "piped")]):
        argv = [*ARGV, *command, "--key-file", str(key)]
        subprocess.run(argv, input=made.stdout, env=used.environment, capture_output=True, check=True)
    assert (tmp_path / "piped" / "freehold.db").exists()


def test_a_plain_backup_has_to_be_asked_for(used: Program, key: Path, tmp_path: Path) -> None:
    """Where nobody can be asked for a passphrase the options are named; --unencrypted says what that means."""
    file = tmp_path / "plain.tar.gz"
    assert "or --unencrypted" in used.refused(2, "backup", str(file))
    assert "as secret as the home" in used.fine("backup", str(file), "--unencrypted")
    assert "is whole" in used.fine("backup", "--verify", str(file))
    assert "no encrypted backup" in used.refused(2, "restore", str(file), "--key-file", str(key))
    for both in (["--unencrypted", "--key-file", str(key)], ["--passphrase-file", str(key), "--key-file", str(key)]):
        assert "choose one" in used.refused(2, "backup", str(tmp_path / "b"), *both)


def test_a_passphrase_comes_from_a_file(used: Program, tmp_path: Path) -> None:
    """The first line of the file is the passphrase; a wrong one is told, and a short one refused."""
    right, wrong, short = (tmp_path / name for name in ("right", "wrong", "short"))
    right.write_text("correct horse battery\nand a second line\n")
    wrong.write_text("correct horse batteries\n")
    short.write_text("horse\n")
    file = tmp_path / "a.backup"
    used.fine("backup", str(file), "--passphrase-file", str(right))
    used.fine("backup", "--verify", str(file), "--passphrase-file", str(right))
    assert "not the one" in used.refused(2, "backup", "--verify", str(file), "--passphrase-file", str(wrong))
    assert "at least 12" in used.refused(2, "backup", str(tmp_path / "b"), "--passphrase-file", str(short))
    assert "cannot be read" in used.refused(2, "backup", str(tmp_path / "b"), "--passphrase-file", str(tmp_path / "no"))
    assert not (tmp_path / "b").exists()


def typed(program: Program, args: list[str], answers: list[str]) -> tuple[int, str]:
    """Run a command at a terminal and answer its questions; its exit code and what was on the screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(ARGV[0], [*ARGV, *args], program.environment)  # noqa: S606  # in the child of the fork
    screen, left = "", list(answers)
    try:
        while select.select([terminal], [], [], 60)[0]:
            screen += os.read(terminal, 4096).decode()
            if left and screen.endswith(": "):
                os.write(terminal, f"{left.pop(0)}\n".encode())
    except OSError:
        pass  # the program has ended
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen


def test_a_person_is_asked(used: Program, tmp_path: Path) -> None:
    """At a terminal the passphrase is asked for, twice when it is new, and not shown."""
    file = tmp_path / "a.backup"
    status, screen = typed(used, ["backup", str(file)], ["correct horse battery"] * 2)
    assert (status, "encrypted" in screen, "horse" in screen) == (0, True, False)
    status, screen = typed(used, ["backup", "--verify", str(file)], ["correct horse battery"])
    assert (status, "is whole" in screen) == (0, True)
    assert "not for a terminal" in typed(used, ["backup", "-", "--unencrypted"], [])[1]


def test_what_is_wrong_is_told(used: Program, backup: Path, key: Path, tmp_path: Path) -> None:
    """A file that exists, no home, no backup, another key and a server elsewhere are each told in one line."""
    key_file, other = ("--key-file", str(key)), tmp_path / "other.key"
    other.write_bytes(os.urandom(32))
    assert "exists already" in used.refused(2, "backup", str(backup), *key_file)
    assert "no home" in elsewhere(used, tmp_path / "none").refused(2, "backup", str(tmp_path / "b"), *key_file)
    assert not (tmp_path / "none").exists()
    new = ("--home", str(tmp_path / "n"))
    assert "not the one" in used.refused(2, "restore", str(backup), "--key-file", str(other), *new)
    assert "give it with --key-file" in used.refused(2, "restore", str(backup), *new)
    assert "no backup" in used.refused(2, "backup", "--verify", str(key))
    assert "cannot be read" in used.refused(2, "restore", str(tmp_path / "no"))
    assert "not empty" in used.refused(2, "restore", str(backup), *key_file)
    remote = used.with_env(FREEHOLD_URL="http://127.0.0.1:1")
    assert "unset FREEHOLD_URL" in remote.refused(2, "backup", str(tmp_path / "b"), *key_file)
    assert "--verify goes with" in used.refused(2, "backup", "--verify", str(backup), "--with-models")
    assert "cannot be made" in used.refused(1, "backup", str(tmp_path / "no" / "b"), *key_file)
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize("place", [3, 90, -1])
def test_a_damaged_backup_is_told(used: Program, backup: Path, key: Path, tmp_path: Path, place: int) -> None:
    """A changed byte anywhere and a cut-off end fail to verify and to restore, and leave nothing."""
    data = bytearray(backup.read_bytes())
    cut = bytes(data[:place])
    data[min(place, len(data) - 1)] ^= 1
    for broken in (bytes(data), cut):
        file = tmp_path / "broken"
        file.write_bytes(broken)
        for command in (["backup", "--verify", str(file)], ["restore", str(file), "--home", str(tmp_path / "new")]):
            done = used.run(*command, "--key-file", str(key))
            assert done.returncode in {1, 2}
            assert done.stderr.startswith("error: ")
            assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"a.backup", "backup.key", "broken"}


def test_keys_that_come_back_to_life_are_named(used: Program, key: Path, tmp_path: Path) -> None:
    """Restored over a home in which a key was revoked since, the key is named with the command that revokes it."""
    program = elsewhere(used, tmp_path / "home")
    program.fine("keys", "create", "leaver")
    program.fine("backup", str(tmp_path / "a.backup"), "--key-file", str(key))
    key_id = next(each["id"] for each in program.json("keys", "list")["data"] if each["name"] == "leaver")
    program.fine("keys", "revoke", key_id)
    told = program.fine("restore", str(tmp_path / "a.backup"), "--key-file", str(key), "--replace")
    assert "VALID AGAIN" in told
    assert f"{key_id}  leaver (user)" in told
    assert len(list(tmp_path.glob("home.replaced-*"))) == 1
    assert next(each for each in program.json("keys", "list")["data"] if each["id"] == key_id)["revoked_at"] is None


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", megabytes=1) as place:
        yield place


def test_a_full_disk_leaves_no_backup(used: Program, key: Path, small: Path) -> None:
    """On a full disk the backup fails in one line, and nothing is left of it."""
    ballast = fill(small)
    told = used.refused(1, "backup", str(small / "a.backup"), "--key-file", str(key))
    assert "room" in told or "No space" in told
    assert list(small.iterdir()) == [ballast]


def test_a_server_in_the_home_is_not_replaced(used: Program, backup: Path, key: Path, tmp_path: Path) -> None:
    """While a server runs on the home a restore is refused, also with --replace, and the server does not notice."""
    program = elsewhere(used, tmp_path / "served")
    config = used.home.parent / "freehold.toml"
    with program.serving("--config", str(config)):
        told = program.refused(1, "restore", str(backup), "--key-file", str(key), "--replace")
        assert "stop it" in told
        assert program.json("keys", "list")
    assert not list(tmp_path.glob("served.replaced*"))
