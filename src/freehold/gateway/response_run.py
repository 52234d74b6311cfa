"""The way of one response: the model is asked, its calls are carried out, it is asked again, until it has answered.

Every question to a model goes the way of a chat completion (`Gateway.chat`), with its filter, its limits and a receipt
of its own; that of the first is the request's.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Protocol

import orjson

from freehold.errors import FreeholdError, InternalError, RequestError
from freehold.gateway.account import Account
from freehold.gateway.answers import Answer
from freehold.gateway.books import Books
from freehold.gateway.flights import ClientGone
from freehold.gateway.response_draft import Draft, added
from freehold.gateway.response_input import Item, chat_request, renamed
from freehold.gateway.response_tool import ServerTool
from freehold.gateway.response_toolbox import MAX_TURNS, Toolbox
from freehold.gateway.response_writer import StreamEvent, ToolCall, Writer
from freehold.types.chat import ChatRequest
from freehold.types.generation import Delta
from freehold.types.identity import Principal
from freehold.types.ids import new_id
from freehold.types.responses import ResponseRequest

NOT_CARRIED_OUT: Final = "This call was not carried out: the limit of tool calls of this response is reached."


class Chat(Protocol):
    """See `Gateway.chat`."""

    async def __call__(self, principal: Principal, request: ChatRequest, account: Account) -> Answer:
        """Answer a conversation."""


class Accounts:
    """Opens and closes the accounts of what is done for a response beside its first question.

    Args:
        books: where they stand.
    """

    def __init__(self, books: Books) -> None:
        self._books = books

    @asynccontextmanager
    async def open(self, parent: Account, response_id: str) -> AsyncIterator[Account]:
        """An account for the time of the block; its receipt is on the disk when that ends.

        Args:
            parent: of the request that the response belongs to.
            response_id: stands among the receipt's parameters.
        """
        account = self._books.open(new_id("req_"), parent.route, parent.dialect)
        account.principal, account.end_user = parent.principal, parent.end_user
        account.metadata, account.tier, account.price_factor = parent.metadata, parent.tier, parent.price_factor
        account.notes |= {name: parent.notes[name] for name in ("batch", "line") if name in parent.notes}
        account.notes["response"] = response_id
        error: FreeholdError | None = InternalError("The server had an error while making the response.")
        try:
            yield account
            error = None
        except FreeholdError as exc:
            error = exc
            raise
        except (asyncio.CancelledError, GeneratorExit):
            error = ClientGone("The response was given up.")
            raise
        finally:
            done = self._books.close(account, error, 200 if error is None else error.status)
            if done is not None:
                await asyncio.shield(done)


class Run:
    """One response that is being made.

    Args:
        chat: asks a model.
        accounts: for what follows the first question.
        principal: who asks.
        request: what is asked.
        draft: the response.
        context: the items before the response's own output.
        toolbox: what the model may call.
        approved: what carries out calls about which was asked, and their arguments.
    """

    def __init__(
        self,
        chat: Chat,
        accounts: Accounts,
        principal: Principal,
        request: ResponseRequest,
        draft: Draft,
        context: Sequence[Item],
        toolbox: Toolbox,
        approved: Sequence[tuple[ServerTool, str]] = (),
    ) -> None:
        self.draft = draft
        self.context = context
        self.writer = Writer(draft, toolbox.find, logprobs=request.logprobs)
        self._chat = chat
        self._accounts = accounts
        self._principal = principal
        self._request = request
        self._account: Account | None = None
        self._toolbox = toolbox
        self._approved = approved
        self._early: list[StreamEvent] = []
        """What comes before the model's first word."""
        self._answer: Answer | None = None
        self._told: dict[str, str] = {}

    @property
    def acts_first(self) -> bool:
        """Whether calls are carried out before the model is asked."""
        return bool(self._approved)

    def question(self, turn: int = 0) -> ChatRequest:
        """What the model is asked in its `turn`-th turn.

        Raises:
            InvalidRequest, UnsupportedParameter: names what cannot be asked.
        """
        toolbox, items = self._toolbox, [*self.context, *self.draft.output]
        stream = bool(self._request.stream or self._request.background)
        asked = chat_request(self._request, items, toolbox.tools, toolbox.choice(turn), stream=stream, told=self._told)
        left = self._tokens_left()
        return asked if left is None else asked.model_copy(update={"max_completion_tokens": left})

    async def begin(self, account: Account) -> None:
        """Ask the model for the first time; its first word has come when this returns.

        Args:
            account: of the request, or of the work on it.

        Raises:
            RequestError: the request is refused.
            ServiceError: no engine could answer.
        """
        self._account = account
        self._early.append(self.writer.started())
        for item in self._toolbox.server.listings:
            self._early += self._listed(item)
        for tool, arguments in self._approved:
            async for event in self._approved_call(tool, arguments):
                self._early.append(event)
        self._answer = await self._ask(account, 0)
        self.draft.model = self._answer.deployment

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """All events but the opening ones and the last.

        Raises (while iterating):
            FreeholdError: what the response ends with.
        """
        assert self._answer is not None, "it has begun"
        assert self._account is not None, "it has begun"
        for event in self._early:
            yield event
        async with aclosing(self._turn(self._account, self._answer)) as events:
            async for event in events:
                yield event
        for turn in range(1, MAX_TURNS):
            if not self._goes_on():
                break
            async with self._accounts.open(self._account, self.draft.id) as account:
                answer = await self._ask(account, turn)
                async with aclosing(self._turn(account, answer)) as events:
                    async for event in events:
                        yield event
        self.draft.complete()

    async def close(self) -> None:
        """Give up what has begun, and close what was opened for it."""
        try:
            if self._answer is not None:
                await self._answer.events.aclose()
        finally:
            await self._toolbox.server.close()

    def _listed(self, item: dict[str, Any]) -> list[StreamEvent]:
        """The tools of an MCP server, as an item of the output."""
        index, begun = self.writer.add(item)
        place = {"item_id": item["id"], "output_index": index}
        kinds = ("response.mcp_list_tools.in_progress", "response.mcp_list_tools.completed")
        return [begun, *(self.writer.event(kind, **place) for kind in kinds), self.writer.done(index)]

    async def _approved_call(self, tool: ServerTool, arguments: str) -> AsyncGenerator[StreamEvent]:
        """Carry out a call that was asked about."""
        call, events = self.writer.open_call(tool, tool.function().function.name, "")
        call.arguments = arguments
        for event in [*events, *self.writer.arguments_done(call, whole=True)]:
            yield event
        async with aclosing(self._carried_out(call)) as events_of_call:
            async for event in events_of_call:
                yield event

    async def _ask(self, account: Account, turn: int) -> Answer:
        """Ask the model; the account has all that it reads for what was asked, not only the request's body."""
        request = self.question(turn)
        account.prompt(orjson.dumps(request.model_dump(mode="json", exclude_none=True)))
        account.notes["response"] = self.draft.id
        try:
            return await self._chat(self._principal, request, account)
        except RequestError as exc:
            raise renamed(exc) from exc

    async def _turn(self, account: Account, answer: Answer) -> AsyncGenerator[StreamEvent]:
        """What the model makes, and what comes of its calls, during which nothing more is reserved than was used."""
        writer, finish = self.writer, "stop"
        writer.begin_turn()
        async with aclosing(answer.events) as events:
            async for event in events:
                if not isinstance(event, Delta):
                    self.draft.usage = added(self.draft.usage, event)
                    continue
                for said in writer.take(event):
                    yield said
                finish = event.finish_reason or finish
        account.rest()
        for said in writer.end_turn(finish):
            yield said
        if self.draft.reason is None:
            for call in writer.calls():
                async with aclosing(self._carried_out(call)) as events_of_call:
                    async for said in events_of_call:
                        yield said

    async def _carried_out(self, call: ToolCall) -> AsyncGenerator[StreamEvent]:
        """Carry a call out, if that is to be done here."""
        if call.tool is None:
            return
        if call.tool.counts and not self._toolbox.take():
            call.result = NOT_CARRIED_OUT
            self.writer.give_up(call, "failed")
        else:
            async with aclosing(call.tool.run(call, self.writer)) as events:
                async for event in events:
                    yield event
        if call.result is not None:
            self._told[call.item["id"]] = call.result
        yield self.writer.done(call.index)

    def _tokens_left(self) -> int | None:
        """How many tokens the model may still write; None for as many as it wants."""
        most, used = self._request.max_output_tokens, self.draft.usage
        return None if most is None else most - (used.completion_tokens if used is not None else 0)

    def _goes_on(self) -> bool:
        """Whether the model has to be asked again: all that it called was carried out here, and it may write more."""
        calls = self.writer.calls()
        if self.draft.reason is not None or not calls or any(call.result is None for call in calls):
            return False
        left = self._tokens_left()
        if left is not None and left < 1:
            self.draft.reason = "max_output_tokens"
            return False
        return True
