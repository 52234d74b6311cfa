"""The disk takes nothing for a while: no answer ends, the server says why, and goes on by itself."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service import ECHO_CONFIG, Reply, Service, eventually


def _waits_s(service: Service) -> float:
    lines = service.get("/metrics").body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("freehold_journal_wait_seconds "))


@pytest.mark.slow
def test_a_disk_that_takes_nothing_is_told_of_and_waited_for(tmp_path: Path) -> None:
    """Readiness, metrics and the log say that the journal waits; the request that waited with it is answered then."""
    with (
        Service(tmp_path / "home", ECHO_CONFIG, program="tests.faults.stuck_disk_server") as service,
        ThreadPoolExecutor() as others,
    ):

        def ask() -> Reply:
            return service.post(
                "/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
            )

        assert ask().status == 200
        assert _waits_s(service) == 0
        stuck = tmp_path / "home" / "stuck"
        stuck.touch()
        waiting = others.submit(ask)
        eventually(lambda: service.get("/health/ready").json()["status"] == "journal_waits", "readiness ends", 60)
        assert _waits_s(service) > 5
        assert not waiting.done()
        stuck.unlink()
        assert waiting.result(60).status == 200
        eventually(lambda: service.get("/health/ready").status == 200, "the server is ready again")
        eventually(lambda: "journal.sync_slow" in service.log(), "the log tells of it")
