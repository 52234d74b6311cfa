"""Pictures that a model has painted within a response, by a painter of the test's own."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from freehold.gateway.account import Account
from freehold.gateway.answers import PaintAnswer
from freehold.gateway.pictures import Uploads
from freehold.gateway.response_draft import Draft
from freehold.gateway.response_images import SHOWN, ImageGeneration
from freehold.gateway.response_run import Accounts
from freehold.gateway.response_writer import ToolCall, Writer
from freehold.governance.digests import Digests
from freehold.types.generation import Usage
from freehold.types.identity import Principal
from freehold.types.images import MAX_PICTURES, ImageRequest, PaintEvent, Picture
from freehold.types.responses import ImageTool, ResponseRequest

APP = Principal("org", "proj", "app")


class NoBooks(Accounts):
    """Accounts of which nothing is recorded."""

    def __init__(self) -> None:
        pass

    @asynccontextmanager
    async def open(self, parent: Account, response_id: str) -> AsyncIterator[Account]:  # noqa: ARG002  # see `Accounts`
        """See `Accounts.open`."""
        yield parent


def painted(arguments: list[str]) -> tuple[list[ToolCall], list[str]]:
    """The calls with these arguments, carried out one after the other, and the prompts that were painted."""
    prompts: list[str] = []

    async def paint(principal: Principal, request: ImageRequest, uploads: Uploads, account: Account) -> PaintAnswer:  # noqa: ARG001
        prompts.append(getattr(request, "prompt", ""))

        async def events() -> AsyncGenerator[PaintEvent]:
            yield Picture(0, b"png")
            yield Usage(1, 0)

        return PaintAnswer(0, "painter", "256x256", events())

    async def main() -> list[ToolCall]:
        account = Account("req_1", "/v1/responses", "openai", Digests(b"p" * 32))
        options = ImageTool(type="image_generation")
        tool = ImageGeneration(paint, NoBooks(), APP, account, options, "resp_1", stream=False)
        request = ResponseRequest.model_validate({"model": "m", "input": "x"})
        writer = Writer(Draft(request, "resp_1", "m"), lambda _: tool)
        calls = []
        for text in arguments:
            call, _ = writer.open_call(tool, "image_generation", "call_1")
            call.arguments = text
            async for _ in tool.run(call, writer):
                pass
            calls.append(call)
        return calls

    return asyncio.run(main()), prompts


def statuses(calls: list[ToolCall]) -> list[Any]:
    """What became of calls."""
    return [call.item["status"] for call in calls]


def test_what_the_model_wrote_is_painted_and_shown() -> None:
    """The item has the picture, and the model is told that it was shown, not what is in it."""
    calls, prompts = painted([json.dumps({"prompt": "a fish"})])
    assert prompts == ["a fish"]
    assert calls[0].item["result"] == "cG5n"
    assert calls[0].result == SHOWN


def test_arguments_that_are_no_prompt_paint_nothing() -> None:
    """The item has failed, and the model is told what is wrong."""
    calls, prompts = painted(["", "{", "[]", "{}", '{"prompt": 1}', '{"prompt": " "}'])
    assert prompts == []
    assert statuses(calls) == ["failed"] * 6
    assert all(call.item["result"] is None and "'prompt'" in (call.result or "") for call in calls)


def test_a_response_has_so_many_pictures_at_most() -> None:
    """What is beyond is not painted, and the model is told so."""
    calls, prompts = painted([json.dumps({"prompt": "a fish"})] * (MAX_PICTURES + 2))
    assert len(prompts) == MAX_PICTURES
    assert statuses(calls) == ["completed"] * MAX_PICTURES + ["failed"] * 2
    assert str(MAX_PICTURES) in (calls[-1].result or "")
