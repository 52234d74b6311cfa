"""The program as its users run it: processes of `python -m freehold` on a home of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.forked import Forked, can_fork, run_forked, start_command

ARGV = (sys.executable, "-m", "freehold")
PATIENCE_S = 120.0

ECHO_CONFIG = """
[server]
port = 0
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
aliases = ["chat"]

[[deployment]]
name = "embed"
engine = "echo"
model = "echo"
task = "embeddings"
"""


@dataclass(frozen=True)
class Program:
    """`freehold` on one home, in an environment with nothing of Freehold's but what `env` says."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def with_env(self, **env: str) -> "Program":
        """The same with more in its environment."""
        return Program(self.home, {**self.env, **env})

    @property
    def environment(self) -> dict[str, str]:
        """What the process gets."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
        return {**inherited, "FREEHOLD_HOME": str(self.home), **self.env}

    def run(self, *args: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run one command to its end. What the interpreter itself would read of the environment needs a whole start."""
        if can_fork(self.env):
            return run_forked(args, self.environment, stdin, timeout_s=PATIENCE_S)
        return subprocess.run(
            [*ARGV, *args],
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def fine(self, *args: str, stdin: str = "") -> str:
        """What a command prints on stdout; it must succeed without a traceback."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def json(self, *args: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.fine(*args, "--json"))

    def refused(self, exit_code: int, *args: str, stdin: str = "") -> str:
        """The one line on stderr of a command that must fail with that exit code."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == exit_code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        lines = done.stderr.splitlines()
        assert lines[-1].startswith("error: "), done.stderr
        assert "Traceback" not in done.stderr
        return lines[-1]

    @contextmanager
    def serving(self, *args: str, typed: bool = False) -> Iterator["Server"]:
        """A running server; interrupted at the end if it still runs. `typed`, it is started whole, as a person does."""
        log, output = self.home.with_suffix(".log"), self.home.with_suffix(".out")
        output.unlink(missing_ok=True)
        process: Forked | subprocess.Popen[bytes]
        if not typed and can_fork(self.env):
            process = start_command(["serve", *args], self.environment, log, output)
        else:
            with log.open("ab") as errors, output.open("wb") as printed:
                process = subprocess.Popen(
                    [*ARGV, "serve", *args],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=errors,
                )
        try:
            yield Server(process, log, _announced(process, log, output))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=60)


@dataclass(frozen=True)
class Server:
    """A server that has said where it is."""

    process: "Forked | subprocess.Popen[bytes]"
    log: Path
    announced: str

    @property
    def url(self) -> str:
        """Its address."""
        return self.announced.split()[4]

    def interrupt(self) -> int:
        """End it as Ctrl-C does; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)


def _announced(process: "Forked | subprocess.Popen[bytes]", log: Path, output: Path) -> str:
    """What a server prints when it is ready."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        ended = process.poll()
        printed = output.read_text(encoding="utf-8") if output.exists() else ""
        if "\nStop it" in printed:
            return printed
        if ended is not None:
            raise AssertionError(f"the server ended with {ended}:\n{printed}{log.read_text()[-3000:]}")
        time.sleep(0.05)
    raise AssertionError(f"the server is not ready:\n{log.read_text()[-3000:]}")
