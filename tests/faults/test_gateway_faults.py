"""What happens to callers when something dies, hangs, leaves or is revoked."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service, events_of, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false
drain_s = {drain_s}

[supervisor]
probe_interval_s = 0.2
probe_timeout_s = 2.0
backoff_initial_s = 0.1

[[deployment]]
name = "quick"
engine = "echo"
model = "echo"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = {{ delay_s = {delay_s} }}
parallel = 64

[[deployment]]
name = "fragile"
engine = "echo"
model = "echo"
options = {{ crash_on = "crash now", hang_on = "hang now", fail_on = "fail now", delay_s = 0.02 }}

[[deployment]]
name = "backed"
engine = "remote"
model = "nobody"
base_url = "http://127.0.0.1:9/v1"
fallbacks = ["quick"]
"""
WORDS = "word " * 40


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start a server with these times; it is stopped at the end."""
    started: list[Service] = []

    def run(*, drain_s: float = 5, delay_s: float = 0.05) -> Service:
        service = Service(tmp_path / "home", CONFIG.format(drain_s=drain_s, delay_s=delay_s))
        started.append(service)
        service.wait_listening()
        eventually(
            lambda: states(service).get("slow") == "ready" == states(service).get("fragile"), "engines are ready"
        )
        return service

    yield run
    for service in started:
        service.stop(signal.SIGKILL)


def states(service: Service) -> dict[str, str]:
    """The deployments' states."""
    found: dict[str, str] = service.get("/health/ready").json()["deployments"]
    return found


def replicas(service: Service, name: str) -> list[dict[str, Any]]:
    """The replicas of a deployment."""
    found: list[dict[str, Any]] = service.get(f"/admin/deployments/{name}", key=service.key).json()["replicas"]
    return found


def stream(service: Service, model: str, text: str, key: str | None = None) -> http.client.HTTPResponse:
    """A streamed chat, begun."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
    return service.open("POST", "/v1/chat/completions", body, key=key or service.key)


def whole(service: Service, model: str, text: str) -> int:
    """The status of a chat that is not streamed."""
    return service.post(
        "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}]}
    ).status


def test_an_engine_that_dies_mid_stream_ends_it_with_an_error_and_comes_back(start: Callable[..., Service]) -> None:
    """The stream ends with an error event and without `[DONE]`; the engine is restarted; the next request is served."""
    service = start()
    with stream(service, "fragile", "one two three four crash now " + WORDS) as answer:
        events = events_of(answer)
    assert events[-1]["error"]["code"] == "engine_failed"
    assert "[DONE]" not in events
    eventually(lambda: replicas(service, "fragile")[0]["restarts"] >= 1, "the engine is restarted")
    eventually(lambda: states(service)["fragile"] == "ready", "the engine is back")
    assert whole(service, "fragile", "hello") == 200


def test_an_engine_killed_from_outside_comes_back(start: Callable[..., Service]) -> None:
    """SIGKILL of an engine mid-stream is told to the caller, and the deployment serves again."""
    service = start()
    pid = replicas(service, "slow")[0]["pid"]
    with stream(service, "slow", WORDS) as answer:
        answer.readline()
        os.kill(pid, signal.SIGKILL)
        events = events_of(answer)
    assert "error" in events[-1]
    eventually(lambda: whole(service, "slow", "x") == 200, "the next request is served")
    assert replicas(service, "slow")[0]["pid"] != pid


def test_a_hung_engine_is_replaced(start: Callable[..., Service]) -> None:
    """An engine that stops answering is found by its probes, killed and started again."""
    service = start()
    pid = replicas(service, "slow")[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: replicas(service, "slow")[0]["pid"] not in {pid, None}, "a new process")
    eventually(lambda: whole(service, "slow", "x") == 200, "it serves")
    assert not alive(pid)


def test_an_engine_error_is_tried_twice_and_told(start: Callable[..., Service]) -> None:
    """A request that an engine answers with an error is tried once more and then a 502, nothing worse."""
    service = start()
    assert whole(service, "fragile", "fail now") == 502
    assert whole(service, "fragile", "hello") == 200


def test_a_deployment_that_is_down_falls_back(start: Callable[..., Service]) -> None:
    """With its endpoint unreachable a deployment's requests go to its fallback."""
    service = start()
    assert whole(service, "backed", "hello") == 200


def test_generation_stops_when_the_caller_leaves(start: Callable[..., Service]) -> None:
    """A caller who closes the connection frees the replica; nobody pays for the rest."""
    service = start(delay_s=0.2)
    answer = stream(service, "slow", WORDS * 10)
    answer.readline()
    assert replicas(service, "slow")[0]["in_flight"] == 1
    answer.close()
    eventually(lambda: replicas(service, "slow")[0]["in_flight"] == 0, "the replica is free", patience_s=5)
    eventually(lambda: '"code":"client_closed_request"' in service.log(), "the log tells it")


def test_a_whole_answer_stops_too_when_the_caller_leaves(start: Callable[..., Service]) -> None:
    """Also without a stream, closing the connection stops the generation."""
    service = start(delay_s=0.2)
    host, port = service.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    body = json.dumps({"model": "slow", "messages": [{"role": "user", "content": WORDS * 10}]})
    connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {service.key}"})
    eventually(lambda: replicas(service, "slow")[0]["in_flight"] == 1, "the request runs")
    connection.close()
    eventually(lambda: replicas(service, "slow")[0]["in_flight"] == 0, "the replica is free", patience_s=5)
    assert whole(service, "quick", "x") == 200


def test_a_revoked_key_is_refused_and_its_streams_end(start: Callable[..., Service]) -> None:
    """Within a second of its revocation a key is refused and its running stream ends with an error."""
    service = start(delay_s=0.2)
    made = service.post("/admin/keys", {"name": "app"}).json()
    with stream(service, "slow", WORDS * 10, key=made["key"]) as answer:
        answer.readline()
        assert service.request("DELETE", f"/admin/keys/{made['id']}", key=service.key).status == 200
        events = events_of(answer)
    assert events[-1]["error"]["code"] == "invalid_api_key"
    assert len(events) < 100
    body = {"model": "quick", "messages": [{"role": "user", "content": "x"}]}
    assert service.post("/v1/chat/completions", body, key=made["key"]).status == 401


def test_a_user_key_cannot_manage(start: Callable[..., Service]) -> None:
    """A key with the role `user` calls deployments, and is refused the control plane."""
    service = start()
    key = service.post("/admin/keys", {"name": "app"}).json()["key"]
    assert service.get("/v1/models", key=key).status == 200
    for method, path in (("GET", "/admin/keys"), ("POST", "/admin/keys"), ("DELETE", "/admin/deployments/quick")):
        assert service.request(method, path, {"name": "x"}, key=key).status == 403
        assert service.request(method, path, {"name": "x"}).status == 401


def run_streams(service: Service, count: int) -> list[list[Any]]:
    """So many streams at once, read to their ends, while the server is told to stop."""
    began = threading.Barrier(count + 1, timeout=30)

    def read() -> list[Any]:
        with stream(service, "slow", WORDS) as answer:
            began.wait()
            return events_of(answer)

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(read) for _ in range(count)]
        began.wait()
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: service.get("/health/ready").status == 503, "unready at once", patience_s=3)
        refused = service.post("/v1/chat/completions", {"model": "quick", "messages": []})
        assert (refused.status, refused.json()["error"]["code"]) == (503, "server_shutting_down")
        return [future.result() for future in futures]


def test_sigterm_lets_twenty_streams_finish(start: Callable[..., Service]) -> None:
    """On SIGTERM the server turns unready at once, twenty streams go on to their `[DONE]`, and it exits with 0."""
    service = start(drain_s=60)
    ends = [events[-1] for events in run_streams(service, 20)]
    assert ends == ["[DONE]"] * 20
    assert service.process.wait(30) == 0


def test_sigterm_cuts_streams_off_at_the_deadline(start: Callable[..., Service]) -> None:
    """Streams that are not done at the deadline end with an error event, and the server exits with 0."""
    service = start(drain_s=1, delay_s=0.5)
    ends = [events[-1] for events in run_streams(service, 20)]
    assert {end["error"]["code"] for end in ends} == {"server_shutting_down"}
    assert service.process.wait(30) == 0


def test_a_killed_gateway_leaves_no_engine(start: Callable[..., Service]) -> None:
    """After SIGKILL of the gateway none of its engine processes is alive, and the home can be served again."""
    service = start()
    pids = [replica["pid"] for name in ("quick", "slow", "fragile") for replica in replicas(service, name)]
    assert len(pids) == 3
    service.process.kill()
    service.process.wait()
    eventually(lambda: not any(alive(pid) for pid in pids), "no engine is left", patience_s=10)
    with Service(service.home.root) as again:
        assert whole(again, "echo", "hello") == 200


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_second_server_on_the_home_is_refused(start: Callable[..., Service]) -> None:
    """A home serves once: the second process says so and exits, the first goes on."""
    service = start()
    second = Service(service.home.root)
    deadline = time.monotonic() + 30
    while second.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert second.process.poll() not in {0, None}
    assert "another Freehold process uses the home" in second.log()
    second.stop()
    assert whole(service, "quick", "hello") == 200
