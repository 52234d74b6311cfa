"""A server with several workers, for tests that call it from outside."""

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Any

import aiohttp

from tests.service import Service, eventually


def workers(service: Service) -> list[dict[str, Any]]:
    """How each worker is."""
    found: list[dict[str, Any]] = service.get("/health/ready").json()["workers"]
    return found


def pids(service: Service) -> list[int]:
    """The processes of the workers."""
    return [worker["pid"] for worker in workers(service)]


def kill(pid: int) -> None:
    """End a worker at once."""
    os.kill(pid, signal.SIGKILL)


def all_ready(service: Service) -> None:
    """Wait until every worker takes requests."""
    eventually(lambda: all(worker["state"] == "ready" for worker in workers(service)), "all workers are ready")


def chat(text: str = "two words", **more: Any) -> dict[str, Any]:
    """A request for a chat completion of two tokens at most."""
    return {"model": "echo", "messages": [{"role": "user", "content": text}], "max_completion_tokens": 2, **more}


async def statuses(service: Service, bodies: Sequence[dict[str, Any]], key: str | None = None) -> list[int]:
    """The statuses of as many chats at once, each on a connection of its own, so that all workers get some."""

    async def call(body: dict[str, Any]) -> int:
        async with (
            aiohttp.ClientSession(service.url, timeout=aiohttp.ClientTimeout(total=60)) as session,
            session.post(
                "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key or service.key}"}
            ) as answer,
        ):
            await answer.read()
            return answer.status

    return list(await asyncio.gather(*map(call, bodies)))
