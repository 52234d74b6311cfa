"""The way of one response through several questions to a model, told with a model of the test's own."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from freehold.gateway.account import Account
from freehold.gateway.answers import Answer
from freehold.gateway.response_draft import Draft
from freehold.gateway.response_run import Accounts, Run
from freehold.gateway.response_tool import ServerTool
from freehold.gateway.response_toolbox import MAX_TURNS, ServerTools, Toolbox
from freehold.gateway.response_writer import StreamEvent, ToolCall, Writer
from freehold.governance.digests import Digests
from freehold.types.chat import ChatRequest, FunctionDefinition, Tool
from freehold.types.generation import Delta, Event, ToolCallDelta, Usage
from freehold.types.identity import Principal
from freehold.types.responses import ResponseRequest

APP = Principal("org", "proj", "app")


class Here(ServerTool):
    """A tool that is carried out here, and always gives the same."""

    def function(self) -> Tool:
        """See `ServerTool.function`."""
        return Tool(type="function", function=FunctionDefinition(name="here"))

    def item(self) -> dict[str, Any]:
        """See `ServerTool.item`."""
        return {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "here", "status": "in_progress"}

    async def run(self, call: ToolCall, writer: Writer) -> AsyncGenerator[StreamEvent]:
        """See `ServerTool.run`."""
        call.item |= {"status": "completed", "output": "given", "arguments": call.arguments}
        call.result = "given"
        yield writer.event("response.mcp_call.completed", item_id="mcp_1", output_index=call.index)


class NoBooks(Accounts):
    """Accounts of which nothing is recorded."""

    def __init__(self) -> None:
        pass

    @asynccontextmanager
    async def open(self, parent: Account, response_id: str) -> AsyncIterator[Account]:  # noqa: ARG002  # see `Accounts`
        """See `Accounts.open`."""
        yield account()


def account() -> Account:
    """An account."""
    return Account("req_1", "/v1/responses", "openai", Digests(b"p" * 32))


def run(tokens: int, **fields: Any) -> tuple[Draft, list[ChatRequest]]:
    """A response of a model that calls its tool as long as it may, with so many tokens each time; and the questions."""
    asked: list[ChatRequest] = []
    request = ResponseRequest.model_validate({"model": "m", "input": "x", **fields})
    draft = Draft(request, "resp_1", "m")

    async def events(may_call: bool) -> AsyncGenerator[Event]:
        if may_call:
            yield Delta(tool_calls=(ToolCallDelta(0, "call_1", "here", "{}"),))
            yield Delta(finish_reason="tool_calls")
        else:
            yield Delta(text="done")
            yield Delta(finish_reason="stop")
        yield Usage(1, tokens)

    async def chat(principal: Principal, request: ChatRequest, account: Account) -> Answer:  # noqa: ARG001
        asked.append(request)
        return Answer("chatcmpl-1", 0, "m", "fp", events(request.tool_choice != "none"))

    async def main() -> None:
        toolbox = Toolbox(request, ServerTools({"here": Here()}))
        making = Run(
            chat,
            NoBooks(),
            APP,
            request,
            draft,
            [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}],
            toolbox,
        )
        await making.begin(account())
        async for _ in making.events():
            pass
        await making.close()

    asyncio.run(main())
    return draft, asked


def test_a_limit_of_tokens_is_that_of_the_whole_response() -> None:
    """Each question may use what the ones before have left; where nothing is left the response is incomplete."""
    draft, asked = run(10, max_output_tokens=36)
    assert [question.max_completion_tokens for question in asked] == [36, 26, 16, 6]
    assert (draft.status, draft.reason) == ("incomplete", "max_output_tokens")
    assert draft.usage is not None
    assert draft.usage.completion_tokens == 40


def test_a_model_that_never_stops_calling_has_to_answer() -> None:
    """The last time it is asked it may call nothing, and what it says then ends the response."""
    draft, asked = run(1)
    assert len(asked) == MAX_TURNS
    assert [question.tool_choice for question in asked[1:-1]] == ["auto"] * (MAX_TURNS - 2)
    assert asked[-1].tool_choice == "none"
    assert draft.status == "completed"
    assert draft.output[-1]["content"][0]["text"] == "done"


def test_calls_are_bounded_by_the_request() -> None:
    """Behind `max_tool_calls` the model is asked to answer."""
    draft, asked = run(1, max_tool_calls=2)
    assert len(asked) == 3
    assert asked[-1].tool_choice == "none"
    assert draft.status == "completed"
