"""Applications that are made when they are first asked for."""

import asyncio

import httpx2 as httpx
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
