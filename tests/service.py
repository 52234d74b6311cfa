"""A real Freehold in a process of its own, for tests that call it from outside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Self

from freehold.store.home import Home
from tests.forked import Forked, can_fork, start_command, start_module

PATIENCE_S = 180.0
"""How long a test waits for what should take a moment; only a broken program takes so long."""

WORKERS = os.environ.get("FREEHOLD_TEST_WORKERS")
"""With how many workers servers are started whose tests do not say; to run a suite of one process with several."""

ECHO_CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
aliases = ["gpt-4o"]
"""


def eventually(condition: Callable[[], bool], what: str | Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Wait until the condition holds; fail with `what` when it does not in time, or with what it then tells."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= deadline:
            raise AssertionError(f"did not happen in {patience_s:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Service:
    """`freehold serve` on a home and a configuration, listening on a free port of the loopback address.

    Or another `program`, a module that takes home and configuration. With `workers`, so many processes take requests.
    """

    def __init__(
        self,
        home: Path,
        config: str = ECHO_CONFIG,
        *,
        environment: Mapping[str, str] | None = None,
        program: str | None = None,
        workers: int | None = None,
    ) -> None:
        self.home = Home(home)
        home.mkdir(parents=True, exist_ok=True)
        file = home / "test-config.toml"
        file.write_text(config, encoding="utf-8")
        self.log_path = home / "test-server.log"
        self.log_path.touch()
        args = ["serve", "--home", str(home), "--port", "0", "--config", str(file)]
        if workers is not None or WORKERS is not None:
            args += ["--workers", str(workers or WORKERS)]
        given = {**os.environ, **(environment or {})}
        self.process: Forked | subprocess.Popen[bytes]
        if not can_fork(environment or {}):
            argv = [program, str(home), str(file)] if program is not None else ["freehold", *args]
            with self.log_path.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", *argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=given
                )
        elif program is not None:
            self.process = start_module(program, [str(home), str(file)], given, self.log_path)
        else:
            self.process = start_command(args, given, self.log_path)

    def __enter__(self) -> Self:
        self.wait_listening()
        self.wait_ready()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def wait_listening(self) -> None:
        """Wait until the server accepts connections."""
        eventually(lambda: self._dead() or self.home.server() is not None, lambda: f"listening; {self.log()[-2000:]}")
        assert self.process.poll() is None, self.log()[-4000:]

    def wait_ready(self) -> None:
        """Wait until every deployment has come up, or failed to."""
        eventually(lambda: self.get("/health/ready").status == 200, lambda: f"ready; {self.log()[-2000:]}")

    @property
    def url(self) -> str:
        """The server's address."""
        record = self.home.server()
        assert record is not None, "the server runs"
        return record.url

    @property
    def key(self) -> str:
        """The owner's key."""
        return self.home.admin_key.read_text(encoding="utf-8").strip()

    def log(self) -> str:
        """What the server printed and logged so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str, *, key: str | None = None) -> Reply:
        """A GET request."""
        return self.request("GET", path, key=key)

    def post(self, path: str, body: Any, *, key: str | None = None) -> Reply:
        """A POST request with a JSON body, as the owner unless another key is given."""
        return self.request("POST", path, body, key=key or self.key)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Any request; `body` is sent as it is if it is bytes, else as JSON."""
        with self.open(method, path, body, key=key, headers=headers) as response:
            return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())

    def open(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HTTPResponse:
        """Any request, its answer still to be read."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **(headers or {})}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=sent)
        try:
            response: HTTPResponse = urllib.request.urlopen(request, timeout=PATIENCE_S)
        except urllib.error.HTTPError as exc:
            return exc  # type: ignore[return-value]  # an HTTPError is the response too
        return response

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the server and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()

    def _dead(self) -> bool:
        return self.process.poll() is not None


def events_of(response: HTTPResponse) -> list[Any]:
    """The server-sent events of an answer, decoded; the text `[DONE]` as it is."""
    return list(each_event(response))


def each_event(response: HTTPResponse) -> Iterator[Any]:
    """The same one by one, as they come."""
    for line in response:
        data = line.strip().removeprefix(b"data: ")
        if data and not data.startswith(b"event: "):
            yield "[DONE]" if data == b"[DONE]" else json.loads(data)
