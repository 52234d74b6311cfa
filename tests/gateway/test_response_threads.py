"""What came before a response: chains of responses, conversations, and items that are referred to."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import Forbidden, InvalidRequest, NotFound
from freehold.gateway.conversations import Conversations
from freehold.gateway.item_store import Holder, ItemStore
from freehold.gateway.items import message
from freehold.gateway.response_draft import Draft
from freehold.gateway.response_store import ResponseStore
from freehold.gateway.response_threads import MAX_BYTES, MAX_CHAIN, Threads
from freehold.store.database import Database
from freehold.store.kept_items import CONVERSATION_TABLES, RESPONSE_TABLES, Page
from freehold.types.content import CONVERSATIONS, RESPONSES
from freehold.types.identity import DATA_PLANE, Action, MemberKind, Principal
from freehold.types.ids import new_id
from freehold.types.responses import ResponseRequest
from tests.gateway.kept import items_of

APP = Principal("org", "proj_a", "app", actions=DATA_PLANE)
ANN = replace(APP, id="ann", kind=MemberKind.USER)
BOB = replace(ANN, id="bob")


def asked(**fields: Any) -> ResponseRequest:
    """A request."""
    return ResponseRequest.model_validate({"model": "m", "input": "x", **fields})


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test has."""

    threads: Threads
    responses: ResponseStore
    conversations: ItemStore
    live: set[str]

    async def respond(self, *said: str, by: Principal = APP, status: str = "completed", **fields: Any) -> str:
        """Keep a response that was asked, and answered, so; its id."""
        draft = Draft(asked(**fields), new_id("resp_"), "m")
        draft.output = [message(text, "assistant") for text in said[1:]]
        draft.status = status
        await self.responses.add(by, draft, [message(said[0])], background=status != "completed")
        return draft.id

    async def talk(self, *said: str, by: Principal = APP) -> Holder:
        """Keep a conversation."""
        items = [("", message(text)) for text in said]
        return await self.conversations.create(by, new_id("conv_"), {"metadata": {}}, items)

    async def before(self, by: Principal = APP, **fields: Any) -> list[str]:
        """The texts that a request goes on with."""
        return texts((await self.threads.before(by, asked(**fields))).items)


def texts(items: Sequence[Any]) -> list[str]:
    """What items say."""
    return [item["content"][0]["text"] for item in items]


def run(folder: Path, trial: Callable[[Trial], Awaitable[None]]) -> None:
    """Run a trial on a new home."""

    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        responses = ResponseStore(items_of(database, lambda: 1_800_000_000.0, RESPONSES, RESPONSE_TABLES))
        conversations = items_of(database, lambda: 1_800_000_000.0, CONVERSATIONS, CONVERSATION_TABLES)
        live: set[str] = set()
        threads = Threads(responses, Conversations(conversations), live.__contains__)
        try:
            await trial(Trial(threads, responses, conversations, live))
        finally:
            await database.close()

    asyncio.run(main())


def test_a_chain_is_read_from_its_beginning(tmp_path: Path) -> None:
    """What was asked and answered in each response, the oldest first; instructions of none; nothing without a link."""

    async def trial(it: Trial) -> None:
        first = await it.respond("a", "b", instructions="secret")
        second = await it.respond("c", "d", "e", previous_response_id=first)
        assert await it.before(previous_response_id=second) == ["a", "b", "c", "d", "e"]
        assert await it.before(previous_response_id=first) == ["a", "b"]
        assert await it.before() == []

    run(tmp_path, trial)


def test_a_chain_cannot_be_read_through_what_is_not_there(tmp_path: Path) -> None:
    """A link that is unknown, deleted, somebody else's, unfinished, or part of a conversation is refused by name."""

    async def trial(it: Trial) -> None:
        hers = await it.respond("a", "b", by=ANN)
        gone = await it.respond("c", "d")
        broken = await it.respond("e", "f", previous_response_id=gone)
        await it.responses.store.delete(await it.responses.get(APP, gone))
        running = await it.respond("g", status="in_progress", background=True)
        it.live.add(running)
        talk = await it.talk("h")
        within = await it.respond("i", "j", conversation=talk.id)
        assert await it.before(ANN, previous_response_id=hers) == ["a", "b"]
        for principal, name, code in (
            (BOB, hers, "previous_response_not_found"),
            (replace(ANN, project_id="proj_b"), hers, "previous_response_not_found"),
            (APP, gone, "previous_response_not_found"),
            (APP, broken, "previous_response_not_found"),
            (APP, "resp_0", "previous_response_not_found"),
            (APP, running, None),
            (APP, within, None),
        ):
            with pytest.raises(InvalidRequest) as refused:
                await it.before(principal, previous_response_id=name)
            assert refused.value.param == "previous_response_id"
            assert code is None or refused.value.code == code
        assert await it.before(previous_response_id=broken, truncation="auto") == ["e", "f"]
        it.live.clear()  # its end could not be written, so it counts as failed, and can be gone on with
        assert await it.before(previous_response_id=running) == ["g"]
        with pytest.raises(Forbidden):
            await it.before(replace(APP, actions=frozenset({Action.INFER})), previous_response_id="resp_0")

    run(tmp_path, trial)


def test_a_chain_has_an_end(tmp_path: Path) -> None:
    """Of one that is too long the newest is read where the request allows it; else it is refused."""

    async def trial(it: Trial) -> None:
        large = "x" * (MAX_BYTES // 2)
        first = await it.respond("old", large)
        second = await it.respond("new", large, previous_response_id=first)
        found = await it.before(previous_response_id=second, truncation="auto")
        assert found == ["new", large]
        with pytest.raises(InvalidRequest) as refused:
            await it.before(previous_response_id=second)
        assert refused.value.code == "context_length_exceeded"

    run(tmp_path, trial)


@pytest.mark.slow
def test_a_chain_has_so_many_links_at_most(tmp_path: Path) -> None:
    """Of a longer one the newest responses are read where the request allows it."""

    async def trial(it: Trial) -> None:
        last = None
        for number in range(MAX_CHAIN + 1):
            last = await it.respond(str(number), previous_response_id=last)
        found = await it.before(previous_response_id=last, truncation="auto")
        assert found == [str(number) for number in range(1, MAX_CHAIN + 1)]

    run(tmp_path, trial)


def test_a_conversation_is_read_and_grows(tmp_path: Path) -> None:
    """All that was said, however many pages; what is added comes behind it; another's conversation is not there."""

    async def trial(it: Trial) -> None:
        said = [f"text {number}" for number in range(250)]
        talk = await it.talk(*said, by=ANN)
        thread = await it.threads.before(ANN, asked(conversation={"id": talk.id}))
        assert texts(thread.items) == said
        await it.threads.grown(ANN, thread, [message("and more")])
        assert await it.before(ANN, conversation=talk.id) == [*said, "and more"]
        for principal in (BOB, APP, replace(ANN, project_id="proj_b"), replace(ANN, organization_id="org-2")):
            with pytest.raises(NotFound) as refused:
                await it.before(principal, conversation=talk.id)
            assert refused.value.param == "conversation"
        await it.conversations.delete(talk)
        await it.threads.grown(ANN, thread, [message("too late")])
        page, _ = await it.conversations.items(talk, Page())
        assert page == []

    run(tmp_path, trial)


def test_a_conversation_that_is_too_long_is_read_from_its_end(tmp_path: Path) -> None:
    """The newest items that can be read, where the request allows it; else it is refused."""

    async def trial(it: Trial) -> None:
        large = "x" * (MAX_BYTES // 2)
        talk = await it.talk("old", large, "between", large, "new")
        assert await it.before(conversation=talk.id, truncation="auto") == ["between", large, "new"]
        with pytest.raises(InvalidRequest) as refused:
            await it.before(conversation=talk.id)
        assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "conversation")

    run(tmp_path, trial)


def test_items_are_referred_to_once(tmp_path: Path) -> None:
    """An item comes under a new id; twice, or after what came before has it already, it is refused."""

    async def trial(it: Trial) -> None:
        talk = await it.talk("said in a conversation")
        thread = await it.threads.before(APP, asked(conversation=talk.id))
        (item,) = thread.items
        reference = {"type": "item_reference", "id": item["id"]}
        (given_again,) = await it.threads.given(APP, asked(input=[reference]))
        assert given_again["id"] != item["id"]
        assert given_again == {**item, "id": given_again["id"]}
        question = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "t", "arguments": ""}
        for given, before in (
            ([reference, reference], ()),
            ([{"id": item["id"]}], thread.items),
            ([question, question], ()),
            ([question], [question]),
        ):
            with pytest.raises(InvalidRequest, match="twice"):
                await it.threads.given(APP, asked(input=given), before)
        for principal in (replace(APP, project_id="proj_b"), replace(APP, organization_id="org-2")):
            with pytest.raises(NotFound):
                await it.threads.given(principal, asked(input=[reference]))
        with pytest.raises(Forbidden):
            await it.threads.given(replace(APP, actions=frozenset({Action.INFER})), asked(input=[reference]))

    run(tmp_path, trial)
