"""Load that remembers what it received: many callers, every kind of request, and some who go away."""

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Any

import aiohttp

PAUSE_S = 0.01


@dataclass
class Received:
    """What the callers of one load saw.

    Args:
        whole: ids of requests whose answers arrived whole with status 200.
        refused: ids of requests that were answered with an error.
        broken: how many answers broke off or never came.
        statuses: how often each status came.
    """

    whole: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    broken: int = 0
    statuses: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """Callers of a server with the deployment `echo`.

    Args:
        url: of the server.
        key: whose key the callers have.
        seed: of their choices.
        callers: how many there are.
    """

    url: str
    key: str
    seed: int
    callers: int = 16

    async def run(self, received: Received, stop: asyncio.Event) -> None:
        """Call until `stop`, or until the server is gone."""
        timeout = aiohttp.ClientTimeout(total=60)
        headers = {"authorization": f"Bearer {self.key}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(self.url, timeout=timeout, headers=headers, connector=connector) as session:
            callers = [self._caller(session, received, stop, random.Random(self.seed + i)) for i in range(self.callers)]
            await asyncio.gather(*callers)

    async def _caller(
        self, session: aiohttp.ClientSession, received: Received, stop: asyncio.Event, choice: random.Random
    ) -> None:
        while not stop.is_set():
            try:
                await self._call(session, received, choice)
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                received.broken += 1
                if choice.random() < 0.5:
                    await asyncio.sleep(PAUSE_S)

    async def _call(self, session: aiohttp.ClientSession, received: Received, choice: random.Random) -> None:
        path, body = _request(choice)
        headers = {"idempotency-key": f"key-{choice.random()}"} if choice.random() < 0.2 else {}
        leave_early = body.get("stream") and choice.random() < 0.3
        async with session.post(path, json=body, headers=headers) as answer:
            request_id = answer.headers["x-request-id"]
            received.statuses[answer.status] = received.statuses.get(answer.status, 0) + 1
            if leave_early and answer.status == 200:
                await answer.content.readline()
                answer.close()
                return
            data = await answer.read()
        if answer.status != 200:
            received.refused.append(request_id)
        elif not body.get("stream") or data.endswith(b"data: [DONE]\n\n"):
            received.whole.append(request_id)
        else:
            received.broken += 1


def _request(choice: random.Random) -> tuple[str, dict[str, Any]]:
    """One of the requests that a service gets: mostly good, a few wrong."""
    text = " ".join("word" for _ in range(choice.randrange(1, 30)))
    match choice.randrange(10):
        case 0:
            return "/v1/embeddings", {"model": "echo", "input": [text, "second"]}
        case 1:
            return "/v1/completions", {"model": "echo", "prompt": text, "n": 2, "max_tokens": 8}
        case 2:
            return "/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": text}], "n": "x"}
        case 3 | 4 | 5 | 6:
            body = {"model": "echo", "messages": [{"role": "user", "content": text}], "stream": True, "user": "alice"}
            return "/v1/chat/completions", body
        case _:
            return "/openai/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": text}]}


def error_of(data: bytes) -> dict[str, Any]:
    """The error object of an answer."""
    found: dict[str, Any] = json.loads(data)["error"]
    return found
