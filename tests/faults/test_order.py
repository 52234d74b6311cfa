"""What comes before what: the record before the engine, the receipt on the disk before the last byte.

Killing a process cannot show what a power loss would; the order of the steps can.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp, Message

from freehold.app import open_app
from freehold.config import Settings, parse_settings
from freehold.errors import AuditUnavailable
from freehold.journal.journal import Position
from freehold.journal.records import Kind

SETTINGS = parse_settings(
    {"server": {"starter": False}, "deployment": [{"name": "echo", "engine": "echo", "model": "echo"}]}, Settings
)


class HeldJournal:
    """A recorder whose records are written, or come to be on the disk, when the test says so."""

    def __init__(self) -> None:
        self.held: asyncio.Queue[tuple[Kind, Mapping[str, Any], asyncio.Future[Position]]] = asyncio.Queue()

    def check(self) -> None:
        """Everything may begin."""

    def submit(self, kind: Kind, body: Mapping[str, Any], *, durable: bool) -> asyncio.Future[Position]:
        """Hold it; receipts wait for the disk, admissions do not."""
        assert durable is (kind is Kind.RECEIPT)
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.held.put_nowait((kind, body, future))
        return future

    async def next(self) -> tuple[Kind, Mapping[str, Any], asyncio.Future[Position]]:
        """The next record that was submitted."""
        return await self.held.get()


class Exchange:
    """One request to an ASGI application, and what has been sent back so far."""

    def __init__(self, app: ASGIApp, key: str, body: dict[str, Any]) -> None:
        self.sent: list[Message] = []
        data = orjson.dumps({"model": "echo", "messages": [{"role": "user", "content": "one two"}], **body})
        self._requests: list[Message] = [{"type": "http.request", "body": data, "more_body": False}]
        path = "/v1/chat/completions"
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {key}".encode())],
            "root_path": "",
            "http_version": "1.1",
        }
        self.task: asyncio.Task[None] = asyncio.create_task(app(scope, self._receive, self._send))  # type: ignore[arg-type]

    @property
    def body(self) -> bytes:
        """What arrived of the body."""
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        """Whether the last byte is sent."""
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")

    async def _receive(self) -> Message:
        if self._requests:
            return self._requests.pop()
        await asyncio.Event().wait()
        raise AssertionError("waits for ever")

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


@asynccontextmanager
async def _exchange(home: Path, body: dict[str, Any]) -> AsyncIterator[tuple[HeldJournal, Exchange]]:
    journal = HeldJournal()
    async with open_app(home, SETTINGS, recorder=journal) as app:
        await app.supervisor.wait_ready("echo", 60)
        yield journal, Exchange(app.asgi, app.admin_key, body)


async def _settle() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_the_engine_is_called_after_the_admission_is_written(tmp_path: Path, stream: bool) -> None:
    """While the `admitted` record is not written, nothing is generated and nothing is sent."""

    async def check() -> None:
        async with _exchange(tmp_path / "home", {"stream": stream}) as (journal, exchange):
            kind, body, written = await journal.next()
            assert kind is Kind.ADMITTED
            assert body["deployment"] == "echo"
            await _settle()
            assert not exchange.sent
            assert journal.held.empty()
            written.set_result(Position(1, 1, 0))
            kind, _, durable = await journal.next()
            assert kind is Kind.RECEIPT
            durable.set_result(Position(2, 1, 100))
            await exchange.task
            assert exchange.ended

    asyncio.run(check())


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_the_last_byte_waits_for_the_receipt_to_be_on_the_disk(tmp_path: Path, stream: bool) -> None:
    """While the receipt is not on the disk, a whole answer has not begun, and a stream has not ended."""

    async def check() -> None:
        async with _exchange(tmp_path / "home", {"stream": stream}) as (journal, exchange):
            (await journal.next())[2].set_result(Position(1, 1, 0))
            _, receipt, durable = await journal.next()
            assert receipt["outcome"] == "finished"
            await _settle()
            assert not exchange.ended
            assert b"[DONE]" not in exchange.body
            assert bool(exchange.sent) is stream, "a stream is under way, a whole answer is held back whole"
            durable.set_result(Position(2, 1, 100))
            await exchange.task
            assert exchange.ended
            assert exchange.body.endswith(b"data: [DONE]\n\n") is stream

    asyncio.run(check())


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_whose_receipt_cannot_be_kept_does_not_end_well(tmp_path: Path, stream: bool) -> None:
    """When the receipt does not come to be on the disk, the caller is told so, and gets no end of the answer."""

    async def check() -> None:
        async with _exchange(tmp_path / "home", {"stream": stream}) as (journal, exchange):
            (await journal.next())[2].set_result(Position(1, 1, 0))
            (await journal.next())[2].set_exception(AuditUnavailable("The disk is full."))
            await exchange.task
            assert exchange.ended
            assert b"audit_unavailable" in exchange.body
            assert b"[DONE]" not in exchange.body
            assert exchange.sent[0]["status"] == (200 if stream else 503)
            assert journal.held.empty(), "there is no second receipt"

    asyncio.run(check())


@pytest.mark.slow
def test_a_request_that_is_not_admitted_to_the_journal_is_not_begun(tmp_path: Path) -> None:
    """When the `admitted` record cannot be written the answer is 503, and nothing is left reserved or recorded."""

    async def check() -> None:
        async with _exchange(tmp_path / "home", {}) as (journal, exchange):
            (await journal.next())[2].set_exception(AuditUnavailable("The disk is full."))
            await exchange.task
            assert exchange.sent[0]["status"] == 503
            assert b"audit_unavailable" in exchange.body
            assert journal.held.empty()

    asyncio.run(check())
