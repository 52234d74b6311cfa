"""Many callers at once: everything is counted, nothing stays behind, and nobody waits for the slowest."""

import asyncio
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fuzz.attack import connect, parse, read_all
from tests.service import Service, events_of, eventually

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"


def body(text: str = "one two three", **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {"model": "echo", "messages": [{"role": "user", "content": text}], **more}


def measured(service: Service, name: str) -> float:
    """A metric's value, summed over its labels."""
    text = service.get("/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))


def descriptors(service: Service) -> int:
    """How many files and sockets the server has open."""
    return sum(1 for _ in Path(f"/proc/{service.process.pid}/fd").iterdir())


def resident_bytes(service: Service) -> int:
    """The memory that the server holds."""
    status = Path(f"/proc/{service.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


async def crowd(service: Service, count: int, *, cancelled: bool) -> int:
    """So many requests of mixed kinds at the same time; how many were answered to their end."""
    headers = {"authorization": f"Bearer {service.key}"}
    connector = aiohttp.TCPConnector(limit=count)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def one(number: int) -> int:
            kind = number % (4 if cancelled else 2)
            model = "slow" if kind > 1 else "echo"
            text = "word " * (200 if kind > 1 else 5)
            sent = {**body(text, stream=kind != 0), "model": model}
            async with session.post(service.url + CHAT, json=sent) as response:
                assert response.status == 200, await response.text()
                if kind > 1:
                    await response.content.readline()
                    response.close()
                    return 0
                data = await response.read()
                assert data.endswith(b"data: [DONE]\n\n") == (kind == 1)
                return 1

        return sum(await asyncio.gather(*(one(number) for number in range(count))))


def test_a_crowd_is_counted_and_leaves_nothing_behind(service: Service) -> None:
    """Of 200 requests at once, half of them cut off, each is counted once and no socket or request stays open."""
    before = measured(service, "freehold_requests_total")
    asyncio.run(crowd(service, 20, cancelled=True))  # every pool has what it keeps
    eventually(lambda: measured(service, "freehold_requests_total") == before + 20, "every request is counted once")
    open_before = descriptors(service)
    assert asyncio.run(crowd(service, 200, cancelled=True)) == 100
    eventually(lambda: measured(service, "freehold_requests_in_flight") == 0, "nothing is running")
    eventually(lambda: measured(service, "freehold_requests_total") == before + 220, "every request is counted once")
    eventually(lambda: descriptors(service) <= open_before + 70, "connections are closed; engine ones are pooled")


def test_memory_and_descriptors_stay_flat(service: Service) -> None:
    """Three thousand requests later the server holds about what it held."""

    def batches(number: int) -> None:
        for _ in range(number):
            assert asyncio.run(crowd(service, 100, cancelled=False)) == 100

    batches(5)
    held, opened = resident_bytes(service), descriptors(service)
    batches(30)
    assert resident_bytes(service) - held < 30 * 1024 * 1024
    eventually(lambda: descriptors(service) <= opened + 10, "connections are closed")


def test_a_slow_reader_holds_up_nobody(service: Service) -> None:
    """A stream that is read at a kilobyte a second neither blocks others nor fills the server's memory."""
    sent = json.dumps(body("word " * 20_000, stream=True, n=32)).encode()  # 7 MB, more than the system buffers of it
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\nConnection: close\r\n\r\n"
    ).encode()
    held = resident_bytes(service)
    wires = [connect(service) for _ in range(8)]
    for wire in wires:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.sendall(head + sent)
    for _ in range(3):
        for wire in wires:
            assert wire.recv(1024)
        assert service.post(CHAT, body()).status == 200
        assert measured(service, "freehold_requests_in_flight") >= 8, "it was answered before any of the readers"
        time.sleep(1)
    assert resident_bytes(service) - held < 100 * 1024 * 1024
    for wire in wires:
        wire.close()
    eventually(lambda: measured(service, "freehold_requests_in_flight") == 0, "readers who left are noticed")


def test_four_streams_in_one_end_with_one_usage(service: Service) -> None:
    """`n: 4` streams four choices, each with a role and an end; usage is null until the last chunk."""
    sent = body(stream=True, n=4, stream_options={"include_usage": True})
    with service.open("POST", CHAT, sent, key=service.key) as response:
        events = events_of(response)
    assert events.pop() == "[DONE]"
    *chunks, last = events
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 12
    for index in range(4):
        mine = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        assert mine[0]["delta"]["role"] == "assistant"
        assert "".join(choice["delta"].get("content") or "" for choice in mine) == "one two three"
        assert [choice["finish_reason"] for choice in mine if choice["finish_reason"]] == ["stop"]


def test_a_failure_before_the_first_token_has_a_status(service: Service) -> None:
    """A stream whose engine fails at once is no stream but an error answer."""
    reply = service.post(CHAT, {**body("please fail", stream=True), "model": "doomed"})
    assert reply.status == 502
    assert reply.json()["error"]["code"] == "engine_failed"


def test_a_failure_after_the_first_token_is_an_event(service: Service) -> None:
    """A stream whose engine dies midway ends with an error event and without `[DONE]`."""
    sent = {**body("one two crash three four", stream=True), "model": "doomed"}
    with service.open("POST", CHAT, sent, key=service.key) as response:
        assert response.status == 200
        events = events_of(response)
    assert events[-1]["error"]["code"] == "engine_failed"
    assert "[DONE]" not in events


def test_a_caller_who_sends_no_more_still_gets_an_answer_or_a_clean_end(service: Service) -> None:
    """Ending the sending side after the request neither hangs nor breaks the server."""
    sent = json.dumps(body()).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with connect(service) as wire:
        wire.sendall(head + sent)
        wire.shutdown(socket.SHUT_WR)
        answer = read_all(wire)
    assert not answer or parse(answer).status == 200
    eventually(lambda: measured(service, "freehold_requests_in_flight") == 0, "nothing is running")
