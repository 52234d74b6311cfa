"""Applications that are made when they are first asked for."""

import asyncio
import threading

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from freehold.api.later import Later


async def _hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def test_it_is_made_once_when_several_ask_at_once() -> None:
    """Nothing is made before a request, and requests that come together get answers of one and the same application."""
    made: list[Starlette] = []

    def make() -> Starlette:
        made.append(Starlette(routes=[Route("/", _hello)]))
        return made[-1]

    async def ask() -> list[str]:
        later = Later(make)
        assert made == []
        async with httpx.AsyncClient(transport=httpx.ASGITransport(later), base_url="http://test") as client:
            answers = await asyncio.gather(*(client.get("/") for _ in range(8)))
        return [answer.text for answer in answers]

    assert asyncio.run(ask()) == ["hello"] * 8
    assert len(made) == 1


def test_who_leaves_does_not_have_it_made_again() -> None:
    """Where the first request is given up while the application is made, the next one waits for the same one."""
    made: list[Starlette] = []
    begun, may_end = threading.Event(), threading.Event()

    def make() -> Starlette:
        made.append(Starlette(routes=[Route("/", _hello)]))
        begun.set()
        assert may_end.wait(30)
        return made[-1]

    async def ask() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(Later(make)), base_url="http://test") as client:
            first = asyncio.create_task(client.get("/"))
            await asyncio.to_thread(begun.wait)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            second = asyncio.create_task(client.get("/"))
            await asyncio.sleep(0)
            may_end.set()
            return (await second).text

    assert asyncio.run(ask()) == "hello"
    assert len(made) == 1


def test_what_failed_is_tried_again() -> None:
    """All who wait for an application that cannot be made learn why, and the next request tries anew."""
    failures = [OSError("the disk is away")]

    def make() -> Starlette:
        if failures:
            raise failures.pop()
        return Starlette(routes=[Route("/", _hello)])

    async def ask() -> tuple[list[object], str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(Later(make)), base_url="http://test") as client:
            first = await asyncio.gather(*(client.get("/") for _ in range(3)), return_exceptions=True)
            return [str(each) for each in first], (await client.get("/")).text

    assert asyncio.run(ask()) == (["the disk is away"] * 3, "hello")
