import asyncio
import os
import stat
from pathlib import Path

from freehold.serving.sockets import SOCKET_PATH_BYTES, SocketFolder
from tests.serving.trial import PATIENCE_S, ask, pid_of, supervised, trial


def test_sockets_lie_in_the_folder_given(tmp_path: Path) -> None:
    """Each socket has a path of its own, what lay there is removed, and only this user may enter the folder."""
    run_dir = tmp_path / "deep" / "run"
    if len(os.fsencode(run_dir)) > SOCKET_PATH_BYTES - 20:
        run_dir = tmp_path / "r"
    folder = SocketFolder(run_dir)
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    (run_dir / "e1.sock").touch()
    first, second = folder.new(), folder.new()
    assert first == run_dir / "e1.sock"
    assert first != second
    assert not first.exists()
    folder.close()
    assert run_dir.is_dir()


def test_a_path_that_is_too_long_is_replaced_by_a_private_folder(tmp_path: Path) -> None:
    """Where the home's path is too long for a socket, the engines listen in a private folder, removed at the end."""

    async def main() -> Path:
        async with supervised(tmp_path / ("long" * 30), trial()) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            assert await ask(supervisor) == str(pid_of(supervisor))
            folder = supervisor._sockets.path
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert len(os.fsencode(folder / "e999999.sock")) <= SOCKET_PATH_BYTES
            return folder

    assert not asyncio.run(main()).exists()
