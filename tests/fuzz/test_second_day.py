"""What happens to a home after its first day: changed, copied, damaged, and stopped at the wrong moment."""

import json
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.forked import freehold
from tests.service import ECHO_CONFIG, Service, eventually

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"
BODY = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
SLOW_START = ECHO_CONFIG + '\n[[deployment]]\nname = "late"\nmodel = "echo"\nengine = "echo"\nparallel = 2\n'


def check_log(service: Service) -> None:
    """Hold that every line on standard error is JSON, and that no stack is among what people read."""
    for line in service.log().splitlines():
        if line.startswith("{"):
            json.loads(line)
    assert "Traceback (most recent call last)" not in service.log()


def serve_fails(home: Path, file: Path, config: str = ECHO_CONFIG) -> str:
    """What `freehold serve` says that must not start: one line, no stack, exit code 1 or 2."""
    file.write_text(config, encoding="utf-8")
    done = freehold(home, "serve", "--port", "0", "--config", str(file), timeout_s=60)
    assert done.returncode in {1, 2}, done.stderr
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done.stderr


def engines_of(home: Path) -> list[str]:
    """The processes whose command line names the home, other than its server."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(home) in line and "echo_server" in line:
            found.append(line)
    return found


def test_a_changed_file_counts_from_the_next_start(tmp_path: Path) -> None:
    """Deployments come, go and change with the file; what the API made stays."""
    with Service(tmp_path / "home") as service:
        made = {"name": "mine", "model": "echo", "engine": "echo"}
        assert service.post("/admin/deployments", made).status == 201
    changed = ECHO_CONFIG.replace('"gpt-4o"', '"gpt-5"').replace('name = "echo"', 'name = "other"')
    with Service(tmp_path / "home", changed) as service:
        assert service.post(CHAT, BODY | {"model": "gpt-5"}).status == 200
        assert service.post(CHAT, BODY | {"model": "mine"}).status == 200
        assert service.post(CHAT, BODY).status == 404
        check_log(service)


def test_a_deleted_deployment_stays_deleted_and_its_name_is_free(tmp_path: Path) -> None:
    """After a restart what was deleted is not back; renaming is making the new one and deleting the old."""
    with Service(tmp_path / "home") as service:
        for name in ("old", "new"):
            assert service.post("/admin/deployments", {"name": name, "model": "echo", "engine": "echo"}).status == 201
        assert service.request("DELETE", "/admin/deployments/old", key=service.key).status == 200
        conflict = {"name": "third", "model": "echo", "engine": "echo", "aliases": ["new"]}
        assert service.post("/admin/deployments", conflict).status == 409
    with Service(tmp_path / "home") as service:
        assert service.post(CHAT, BODY | {"model": "old"}).status == 404
        assert service.post(CHAT, BODY | {"model": "new"}).status == 200


def test_a_file_that_takes_a_stored_name_as_an_alias_is_told(tmp_path: Path) -> None:
    """A conflict between the file and what is stored ends the start with the name that is taken."""
    with Service(tmp_path / "home") as service:
        assert service.post("/admin/deployments", {"name": "mine", "model": "echo", "engine": "echo"}).status == 201
    assert "'mine'" in serve_fails(tmp_path / "home", tmp_path / "failing.toml", ECHO_CONFIG.replace("gpt-4o", "mine"))


def test_a_missing_model_fails_its_deployment_only(tmp_path: Path) -> None:
    """A deployment whose model cannot be had says why, and the others serve."""
    config = ECHO_CONFIG + '\n[[deployment]]\nname = "absent"\nmodel = "no-such-model"\nengine = "llamacpp"\n'
    service = Service(tmp_path / "home", config)
    try:
        service.wait_listening()
        eventually(lambda: service.post(CHAT, BODY).status == 200, "the other one serves")
        reply = service.post(CHAT, BODY | {"model": "absent"})
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) >= 1
        found = json.dumps(service.get("/admin/deployments/absent", key=service.key).json())
        assert "no-such-model" in found
    finally:
        assert service.stop() == 0
    check_log(service)


def test_replacing_a_model_under_load_fails_nobody(tmp_path: Path) -> None:
    """While a deployment gets a new engine process its callers notice nothing."""
    with Service(tmp_path / "home") as service:
        settings = {"name": "mine", "model": "echo", "engine": "echo"}
        assert service.post("/admin/deployments", settings).status == 201
        eventually(lambda: service.post(CHAT, BODY | {"model": "mine"}).status == 200, "it serves")
        statuses: list[int] = []
        done = threading.Event()

        def caller() -> None:
            while not done.is_set():
                statuses.append(service.post(CHAT, BODY | {"model": "mine"}).status)

        callers = [threading.Thread(target=caller) for _ in range(3)]
        for thread in callers:
            thread.start()
        for context in (64, 128, 256):
            changed = {**settings, "context_length": context}
            assert service.request("PUT", "/admin/deployments/mine", changed, key=service.key).status == 200
            time.sleep(1)
        done.set()
        for thread in callers:
            thread.join()
        assert len(statuses) > 10
        assert set(statuses) == {200}


def test_a_home_that_was_copied_serves_as_the_first(tmp_path: Path) -> None:
    """A home holds no path of itself: a copy elsewhere has the same keys and deployments."""
    with Service(tmp_path / "home") as service:
        assert service.post("/admin/deployments", {"name": "mine", "model": "echo", "engine": "echo"}).status == 201
        key = service.key
    shutil.copytree(tmp_path / "home", tmp_path / "elsewhere" / "home")
    shutil.rmtree(tmp_path / "home")
    with Service(tmp_path / "elsewhere" / "home") as service:
        assert service.post(CHAT, BODY | {"model": "mine"}, key=key).status == 200


@pytest.mark.parametrize("damage", [b"not a database at all" * 500, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_database_is_told(tmp_path: Path, damage: bytes) -> None:
    """A database that is none ends the start with one line that says so."""
    with Service(tmp_path / "home"):
        pass
    for file in (tmp_path / "home").glob("freehold.db*"):
        file.unlink()
    (tmp_path / "home" / "freehold.db").write_bytes(damage)
    assert "database" in serve_fails(tmp_path / "home", tmp_path / "failing.toml")


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A home below a file ends the start with one line."""
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert "home" in serve_fails(tmp_path / "file" / "home", tmp_path / "failing.toml")


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.4])
def test_a_signal_while_engines_start_ends_everything(
    tmp_path: Path, signals: list[signal.Signals], after_s: float
) -> None:
    """Told to stop while deployments are loading, the server exits with 0 soon and leaves no engine."""
    service = Service(tmp_path / "home", SLOW_START)
    service.wait_listening()
    time.sleep(after_s)
    started = time.monotonic()
    for number in signals:
        service.process.send_signal(number)
    assert service.stop(signals[-1]) == 0
    assert time.monotonic() - started < 15
    assert engines_of(tmp_path / "home") == []
    check_log(service)
