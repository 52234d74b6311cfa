"""An engine under test: its process, and what the shared suite must know besides the contract."""

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from freehold.config import engine_environment
from freehold.engines.base import Connection, Engine, EngineSpec, Launch
from freehold.errors import EngineUnavailable
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Delta, Event, Usage

PATIENCE_S = 60.0
"""How long a test waits for what should take a moment."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A running engine.

    Args:
        engine, spec, socket: what connections are made of.
        process: the engine's process, or that of the server behind a remote one.
        long_prompt: a user's message to which it says at least a hundred tokens.
        active: how many requests the engine works on, asked through a way of its own.
        token_ids: the ids of a text's tokens.
    """

    engine: Engine
    spec: EngineSpec
    socket: Path
    process: "subprocess.Popen[bytes]"
    long_prompt: str
    active: Callable[[], int]
    token_ids: Callable[[str], list[int]]

    def try_out(self, trial: Callable[[Connection, Traits], Awaitable[None]], *needs: Feature) -> None:
        """Run a trial on a connection of its own; skip it where the engine lacks a feature it needs."""

        async def main() -> None:
            connection = self.engine.connect(self.spec, self.socket)
            try:
                traits = await connection.open()
                for feature in needs:
                    if feature not in traits.features:
                        pytest.skip(f"{self.engine.name} does not declare {feature}")
                await trial(connection, traits)
            finally:
                await connection.close()

        asyncio.run(main())

    def kill(self) -> None:
        """End the process as a crash would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)


@contextmanager
def running(launch: Launch) -> Iterator["subprocess.Popen[bytes]"]:
    """A process, killed at the end. Its standard input stays open as long as it is to run."""
    process = subprocess.Popen(
        launch.argv, env=engine_environment(launch.env), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def socket_path() -> Iterator[Path]:
    """A place for a socket whose path is short enough for one."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="fh") as folder:
        yield Path(folder) / "s"


def wait_open(engine: Engine, spec: EngineSpec, socket: Path, patience_s: float = PATIENCE_S) -> None:
    """Wait until the engine is ready."""

    async def main() -> None:
        connection = engine.connect(spec, socket)
        deadline = time.monotonic() + patience_s
        try:
            while True:
                try:
                    await connection.open()
                    await connection.check()
                except EngineUnavailable:
                    assert time.monotonic() < deadline, "the engine did not become ready"
                    await asyncio.sleep(0.02)
                else:
                    return
        finally:
            await connection.close()

    asyncio.run(main())


def chat_request(text: str = "Say hello to the whole wide world", **parameters: Any) -> ChatRequest:
    """A conversation of one message."""
    body = {"model": "any", "messages": [{"role": "user", "content": text}], **parameters}
    return ChatRequest.model_validate(body)


def completion_request(**parameters: Any) -> CompletionRequest:
    """A completion; its prompt is given beside it."""
    return CompletionRequest.model_validate({"model": "any", **parameters})


@dataclass(frozen=True, slots=True)
class Heard:
    """All that a stream said, after its grammar was held."""

    deltas: list[Delta]
    usage: Usage

    @property
    def text(self) -> str:
        """The first choice's text."""
        return "".join(delta.text for delta in self.deltas if delta.choice == 0)

    def text_of(self, choice: int) -> str:
        """A choice's text."""
        return "".join(delta.text for delta in self.deltas if delta.choice == choice)

    @property
    def finish(self) -> str | None:
        """The first choice's finish reason."""
        return next((d.finish_reason for d in self.deltas if d.choice == 0 and d.finish_reason), None)

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Name and arguments of each tool call of the first choice."""
        names: dict[int, str] = {}
        arguments: dict[int, str] = {}
        for delta in self.deltas:
            for piece in delta.tool_calls:
                if piece.index not in names:
                    assert piece.id, "the first piece of a call lacks its id"
                    assert piece.name, "the first piece of a call lacks its name"
                    names[piece.index] = piece.name
                arguments[piece.index] = arguments.get(piece.index, "") + piece.arguments
        return [(name, arguments[index]) for index, name in sorted(names.items())]


async def hear(stream: AsyncGenerator[Event], choices: int = 1) -> Heard:
    """Read a stream to its end and hold it to the grammar."""
    deltas: list[Delta] = []
    usage: Usage | None = None
    finished: set[int] = set()
    async for event in stream:
        assert usage is None, "something came after the usage"
        if isinstance(event, Usage):
            usage = event
            continue
        assert event.choice not in finished, "a choice went on after its finish"
        if event.finish_reason is not None:
            finished.add(event.choice)
        deltas.append(event)
    assert finished == set(range(choices)), "a choice has no finish, or was not asked for"
    assert usage is not None, "there is no usage"
    return Heard(deltas, usage)
