"""Responses: conversations with a model that the service remembers.

One that is made while its caller waits is kept when it is complete, before the last byte is sent; if the caller goes
away before, nothing of it is. One in the background is kept before it begins, goes on when nobody listens, and has
`failed` if the server ends before it does.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from freehold.errors import FreeholdError, InvalidRequest, RequestError, UnsupportedParameter
from freehold.gateway.account import Account
from freehold.gateway.item_store import Holder, Item
from freehold.gateway.response_approvals import approved_calls
from freehold.gateway.response_background import Background, Work
from freehold.gateway.response_draft import OPEN, Draft
from freehold.gateway.response_files import FileReader
from freehold.gateway.response_fit import fitted
from freehold.gateway.response_input import check_offered, renamed
from freehold.gateway.response_live import Live
from freehold.gateway.response_run import Accounts, Chat, Run
from freehold.gateway.response_store import ResponseStore, not_streamed
from freehold.gateway.response_threads import Thread, Threads
from freehold.gateway.response_toolbox import ServerTools, Toolbox
from freehold.gateway.response_writer import StreamEvent
from freehold.governance.authorization import require
from freehold.store.kept_items import Page
from freehold.types.chat import ChatRequest
from freehold.types.identity import Action, Principal
from freehold.types.ids import new_id
from freehold.types.responses import ResponseRequest

Vet = Callable[[Principal, ChatRequest, Account], Awaitable[None]]
"""See `Gateway.vet`."""
CountTokens = Callable[[Principal, ChatRequest, Account], Awaitable[tuple[int | None, int | None]]]
"""See `TokenCounter.count`."""
FindTools = Callable[[Principal, ResponseRequest, Account, str], Awaitable[ServerTools]]
"""What the request wants to be carried out here; whoever has it closes it."""


@dataclass(frozen=True, slots=True)
class Made:
    """A response that is on its way.

    Args:
        draft: the response.
        events: its stream; None for one in the background whose request wants none.
        run: makes it, where its caller waits.
    """

    draft: Draft
    events: AsyncGenerator[StreamEvent] | None
    run: Run | None = None

    async def close(self) -> None:
        """Give up what the events come from; one in the background goes on."""
        if self.run is not None:
            await self.run.close()

    def failure(self, error: FreeholdError) -> StreamEvent | None:
        """The last event, where an error ends the stream; None where the stream is not this request's to end."""
        if self.run is None:
            return None
        self.run.writer.cut()
        self.draft.fail(error)
        return self.run.writer.closing()


@dataclass(frozen=True, slots=True)
class ResponseParts:
    """What responses are made with.

    Args:
        chat: asks a model.
        vet: looks whether a model may be asked.
        count: counts the tokens of what a model would be asked.
        tools: finds what is carried out here.
        name: what the deployment is called that a caller means.
        accounts: for what follows a response's first question.
        store: keeps them.
        threads: what came before them.
        reader: reads files that their input names.
        background: makes those for which nobody waits.
    """

    chat: Chat
    vet: Vet
    count: CountTokens
    tools: FindTools
    name: Callable[[Principal, str], str]
    accounts: Accounts
    store: ResponseStore
    threads: Threads
    reader: FileReader
    background: Background


class Responses:
    """The responses of one home.

    Args:
        parts: what they are made with.
    """

    def __init__(self, parts: ResponseParts) -> None:
        self._parts = parts
        self._store = parts.store

    async def __aenter__(self) -> Self:
        """Let responses have failed that were being made when the server ended."""
        await self._store.end_interrupted()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until no response is being made."""
        await self._parts.background.close()

    def live_ids(self) -> frozenset[str]:
        """Those that are being made here in the background."""
        return self._parts.background.live_ids()

    async def create(self, principal: Principal, request: ResponseRequest, account: Account) -> Made:
        """Make a response. Unless it is in the background, its first word has come when this returns.

        Raises:
            RequestError: the request is refused.
            ServiceError: no engine could answer.
        """
        self._keeps(principal, request)
        response_id = new_id("resp_")
        account.notes["response"] = response_id
        run, thread, given = await self._prepared(principal, request, account, response_id)
        try:
            if request.background:
                return await self._in_background(principal, request, account, run, thread, given)
            if run.acts_first:
                await self._vet(principal, run, account)
            opening = run.writer.opening()
            await run.begin(account)
        except BaseException:
            await run.close()
            raise
        events = self._events(principal, request, run, opening, thread, given)
        return Made(run.draft, events, run)

    async def count_input(self, principal: Principal, request: ResponseRequest, account: Account) -> int:
        """How many tokens a model would read for a request.

        Raises:
            UnsupportedParameter: the model cannot say.
            RequestError: the request would be refused.
        """
        run, _, _ = await self._prepared(principal, request, account, new_id("resp_"))
        try:
            tokens, _ = await self._parts.count(principal, run.question(), account)
        except RequestError as exc:
            raise renamed(exc) from exc
        finally:
            await run.close()
        if tokens is None:
            raise UnsupportedParameter(
                f"The engine of the model '{request.model[:128]}' cannot count this input without answering it.",
                param="model",
            )
        return tokens

    async def get(self, principal: Principal, response_id: str) -> dict[str, Any]:
        """A response.

        Raises:
            NotFound: there is none of that id.
            Forbidden: the caller may not read responses.
        """
        holder, live = await self._found(principal, Action.READ_CONVERSATIONS, response_id)
        return await self._store.resource(holder) if live is None else live.draft.resource()

    async def stream(self, principal: Principal, response_id: str, after: int) -> AsyncGenerator[StreamEvent]:
        """The stream of a response in the background, from the event behind `after` on.

        Raises:
            InvalidRequest: the response has no stream.
            NotFound, Forbidden: as `get`.
        """
        holder, live = await self._found(principal, Action.READ_CONVERSATIONS, response_id)
        if live is None:
            return await self._stored_events(principal, holder, after)
        if not live.streams:
            raise not_streamed()
        return live.follow(after)

    async def items(self, principal: Principal, response_id: str, page: Page) -> tuple[list[dict[str, Any]], bool]:
        """What a response was asked, and whether there is more.

        Raises:
            InvalidRequest: there is no item `page.after`.
            NotFound, Forbidden: as `get`.
        """
        holder, _ = await self._found(principal, Action.READ_CONVERSATIONS, response_id)
        return await self._store.store.items(holder, page, side="input")

    async def cancel(self, principal: Principal, response_id: str) -> dict[str, Any]:
        """Stop a response in the background; one that is done stays as it is.

        Raises:
            InvalidRequest: it is not in the background.
            NotFound, Forbidden: as `get`.
        """
        holder, live = await self._found(principal, Action.WRITE_CONVERSATIONS, response_id)
        if not holder.row.more["background"]:
            raise InvalidRequest(
                "Only a response that was created with 'background' set to true can be cancelled.", param="response_id"
            )
        if live is not None:
            live.cancel()
            await live.done.wait()
            return live.draft.resource()
        holder = await self._store.stopped(holder, partial(self._store.get, principal, response_id))
        return await self._store.resource(holder)

    async def delete(self, principal: Principal, response_id: str) -> None:
        """Remove a response, and stop it first if it is being made.

        Raises:
            NotFound, Forbidden: as `get`.
        """
        holder, live = await self._found(principal, Action.WRITE_CONVERSATIONS, response_id)
        if live is not None:
            live.cancel()
            await live.done.wait()
        holder = await self._store.stopped(holder, partial(self._store.get, principal, response_id))
        await self._store.store.delete(holder)

    def _keeps(self, principal: Principal, request: ResponseRequest) -> bool:
        """Whether the response is kept: unless the request or the project's retention says no, and the caller may.

        Raises:
            ZeroRetention: it would have to be, and nothing is kept for the project.
            Forbidden: it would have to be, and the caller may not.
        """
        needs = "background" if request.background else "conversation" if request.conversation_id else "store"
        if request.store or request.background or request.conversation_id is not None:
            self._store.store.check_keeping(principal, needs)
            require(principal, Action.WRITE_CONVERSATIONS, "responses")
        if request.store is not None:
            return request.store
        return self._store.store.keeps(principal) and Action.WRITE_CONVERSATIONS in principal.actions

    async def _prepared(
        self, principal: Principal, request: ResponseRequest, account: Account, response_id: str
    ) -> tuple[Run, Thread, list[Item]]:
        """What makes the response, what it goes on with, and its own input."""
        check_offered(request)
        parts = self._parts
        thread = await parts.threads.before(principal, request)
        given = await parts.threads.given(principal, request, thread.items)
        draft = Draft(request, response_id, parts.name(principal, request.model))
        server = await parts.tools(principal, request, account, draft.id)
        try:
            approved = approved_calls([*thread.items, *given], {item["id"] for item in given}, server)
            context = await parts.reader.inlined(principal, [*thread.items, *given])
            run = Run(
                parts.chat, parts.accounts, principal, request, draft, context, Toolbox(request, server), approved
            )
            if request.truncation == "auto":
                await self._fit(principal, request, account, run)
        except BaseException:
            await server.close()
            raise
        return run, thread, given

    async def _fit(self, principal: Principal, request: ResponseRequest, account: Account, run: Run) -> None:
        """Leave the oldest items out that the model cannot read as well."""

        async def count(asked: ChatRequest) -> tuple[int | None, int | None]:
            return await self._parts.count(principal, asked, account)

        def question(items: Sequence[Item]) -> ChatRequest:
            run.context = items
            return run.question()

        try:
            run.context = await fitted(run.context, question, count, request.max_output_tokens)
        except RequestError as exc:
            raise renamed(exc) from exc

    async def _vet(self, principal: Principal, run: Run, account: Account) -> None:
        """Look whether the model may be asked, before anything is done that cannot be taken back."""
        try:
            await self._parts.vet(principal, run.question(), account)
        except RequestError as exc:
            raise renamed(exc) from exc

    async def _in_background(
        self,
        principal: Principal,
        request: ResponseRequest,
        account: Account,
        run: Run,
        thread: Thread,
        given: Sequence[Item],
    ) -> Made:
        async def grow() -> None:
            if run.draft.status != "failed":
                await self._parts.threads.grown(principal, thread, [*given, *run.draft.output])

        with self._parts.background.room():
            await self._vet(principal, run, account)
            account.notes |= {"response": run.draft.id, "background": True}
            holder = await self._store.add(principal, run.draft, given, background=True)
            live = self._parts.background.start(Work(principal, account, run, holder, bool(request.stream), grow))
        return Made(run.draft, live.follow(-1) if request.stream else None)

    async def _events(
        self,
        principal: Principal,
        request: ResponseRequest,
        run: Run,
        opening: Sequence[StreamEvent],
        thread: Thread,
        given: Sequence[Item],
    ) -> AsyncGenerator[StreamEvent]:
        """All events of a response for which its caller waits. Before the last it is kept, if it is to be."""
        try:
            for event in opening:
                yield event
            async with aclosing(run.events()) as events:
                async for event in events:
                    yield event
            if self._keeps(principal, request):  # by now: what was allowed at its beginning may be no more
                await self._store.add(principal, run.draft, given, background=False)
            await self._parts.threads.grown(principal, thread, [*given, *run.draft.output])
            last = run.writer.closing()
            assert last is not None, "it has come to its end"
            yield last
        finally:
            await run.close()

    async def _stored_events(self, principal: Principal, holder: Holder, after: int) -> AsyncGenerator[StreamEvent]:
        await self._store.check_streamed(holder)
        return self._store.events(holder, after, partial(self._store.get, principal, holder.id))

    async def _found(self, principal: Principal, action: Action, response_id: str) -> tuple[Holder, Live | None]:
        """A response, and the making of it if that goes on."""
        require(principal, action, f"responses/{response_id[:64]}")
        holder = await self._store.get(principal, response_id)
        live = self._parts.background.live(response_id)
        if live is not None and live.draft.status not in OPEN:
            await live.done.wait()  # it is being written down what became of it
            live = None
        if live is None and holder.header["response"]["status"] in OPEN:
            holder = await self._store.get(principal, response_id)  # it may have come to its end in between
        return holder, live
