"""Chat completions that are kept because their callers said `store`, or because their project says so for them.

What a person stores is that person's alone, what a service account stores belongs to its project, as with everything
in an `ItemStore`. Metadata is encrypted with the rest; what a list finds completions by are keyed digests of its pairs,
different ones in each project.
"""

import hmac
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from freehold.errors import NotFound
from freehold.gateway.item_store import Holder, ItemStore
from freehold.governance.authorization import decide, require
from freehold.governance.retention import RetentionRegistry
from freehold.store.kept_completions import add_completion, change_completion, labelled, of_model
from freehold.store.kept_items import HolderRow, Page
from freehold.types.chat import AssistantMessage, ChatRequest, Message, RefusalPart, ToolMessage
from freehold.types.content import tenant_of
from freehold.types.identity import Action, Principal
from freehold.types.stored_completions import CompletionFilter

RESOURCE = "chat/completions"


class StoredCompletions:
    """The stored completions of one home.

    Every method that reads or writes them may raise ContentUnreadable, ProjectKeyRevoked or KeyServiceUnavailable
    where they cannot be encrypted or decrypted, and HomeError where the database cannot be used.

    Args:
        store: where they lie.
        retention: says of whom nothing is kept, and for whom everything is.
        digest_key: under which the pairs of metadata are hashed.
    """

    def __init__(self, store: ItemStore, retention: RetentionRegistry, digest_key: bytes) -> None:
        self._store = store
        self._retention = retention
        self._digest_key = digest_key

    def check(self, principal: Principal, request: ChatRequest) -> None:
        """Return unless the request says `store` and nothing may be stored for the caller.

        Raises:
            Forbidden: the caller may not.
            ZeroRetention: nothing is kept for the project.
        """
        if request.store:
            require(principal, Action.WRITE_CONVERSATIONS, RESOURCE)
            self._store.check_keeping(principal, "store")

    def wanted(self, principal: Principal, request: ChatRequest) -> bool:
        """Whether the answer is to be kept: as the request says, and else as its project has it.

        Where a project stores what its requests do not speak of, that of a caller who may not write is not stored:
        it did not ask for it, and to ask the model is all that it may.
        """
        if request.store is not None:
            return request.store
        default = self._retention.effective(principal.organization_id, principal.project_id).store
        return default and decide(principal, Action.WRITE_CONVERSATIONS, RESOURCE).allowed

    async def keep(self, principal: Principal, request: ChatRequest, completion: Mapping[str, Any]) -> None:
        """Keep a completion and the messages that it answers.

        Args:
            principal: who asked.
            request: what was asked, as it was sent.
            completion: the whole answer, in OpenAI's shape.

        Raises:
            Forbidden, ZeroRetention: nothing may be stored for the caller, any more.
        """
        require(principal, Action.WRITE_CONVERSATIONS, RESOURCE)
        self._store.check_keeping(principal, "store")
        metadata = request.metadata or {}
        header = {**completion, "metadata": metadata}
        row = await self._store.row(principal, completion["id"], header, model=completion["model"])
        messages = [
            ("", stored_message(f"{row.id}-{number}", message)) for number, message in enumerate(request.messages)
        ]
        sealed = await self._store.sealed(tenant_of(principal), row, messages)
        await add_completion(self._store.database, row, sealed, self._labels(row, metadata))

    async def page(
        self, principal: Principal, wanted: CompletionFilter, page: Page
    ) -> tuple[list[dict[str, Any]], bool]:
        """Completions that are there for the caller, in the order of time, and whether there are more of them.

        Raises:
            Forbidden: the caller may not read them.
            NotFound: there is no completion `page.after`.
        """
        require(principal, Action.READ_CONVERSATIONS, RESOURCE)
        if page.after is not None and await self._store.get(principal, page.after) is None:
            raise absent(page.after, "after")
        where = (principal.organization_id, principal.project_id)
        conditions = [labelled(self._label(*where, *pair)) for pair in wanted.metadata.items()]
        if wanted.model is not None:
            conditions.append(of_model(wanted.model))
        asked = Page(page.limit + 1, page.newest_first, page.after)
        found = await self._store.page(principal, asked, *conditions)
        return [each.header for each in found[: page.limit]], len(found) > page.limit

    async def get(self, principal: Principal, completion_id: str) -> dict[str, Any]:
        """One completion.

        Raises:
            Forbidden: the caller may not read any.
            NotFound: there is none of that id for the caller.
        """
        require(principal, Action.READ_CONVERSATIONS, _named(completion_id))
        return (await self._found(principal, completion_id)).header

    async def update(self, principal: Principal, completion_id: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        """Give a completion other metadata in place of what it had; the completion as it is then.

        Raises:
            Forbidden: the caller may not change any.
            NotFound: there is none of that id for the caller.
        """
        require(principal, Action.WRITE_CONVERSATIONS, _named(completion_id))
        found = await self._found(principal, completion_id)
        header = {**found.header, "metadata": dict(metadata)}
        sealed = await self._store.sealed_header(found.row, header)
        labels = self._labels(found.row, metadata)
        if not await change_completion(self._store.database, found.row, sealed, labels):
            raise absent(completion_id)
        return header

    async def delete(self, principal: Principal, completion_id: str) -> None:
        """Remove a completion with its messages.

        Raises:
            Forbidden: the caller may not.
            NotFound: there is none of that id for the caller.
        """
        require(principal, Action.WRITE_CONVERSATIONS, _named(completion_id))
        if not await self._store.delete(await self._found(principal, completion_id)):
            raise absent(completion_id)

    async def messages(self, principal: Principal, completion_id: str, page: Page) -> tuple[list[dict[str, Any]], bool]:
        """The messages that a completion answers, in their order, and whether there are more of them.

        Raises:
            Forbidden: the caller may not read any.
            NotFound: there is no completion of that id for the caller.
            InvalidRequest: it has no message `page.after`.
        """
        require(principal, Action.READ_CONVERSATIONS, _named(completion_id))
        return await self._store.items(await self._found(principal, completion_id), page)

    async def _found(self, principal: Principal, completion_id: str) -> Holder:
        found = await self._store.get(principal, completion_id)
        if found is None:
            raise absent(completion_id)
        return found

    def _labels(self, row: HolderRow, metadata: Mapping[str, str]) -> list[bytes]:
        return [self._label(row.organization_id, row.project_id, *pair) for pair in metadata.items()]

    def _label(self, *parts: str) -> bytes:
        return hmac.digest(self._digest_key, orjson.dumps(parts), "sha256")


def stored_message(message_id: str, message: Message) -> dict[str, Any]:
    """A message of a request as the list of a stored completion's messages has it.

    A text is `content`; where the caller sent parts, they are `content_parts` as they were sent, and `content` is
    null. The refusals among an assistant's parts are its `refusal`.
    """
    said: dict[str, Any] = {
        "id": message_id,
        "role": message.role,
        "content": message.content if isinstance(message.content, str) else None,
        "content_parts": None,
        "name": getattr(message, "name", None),
        "refusal": None,
    }
    if isinstance(message, AssistantMessage):
        said["refusal"] = message.refusal or "".join(_refusals(message)) or None
        said |= message.model_dump(include={"tool_calls", "function_call"}, exclude_none=True)
    if isinstance(message, ToolMessage):
        said["tool_call_id"] = message.tool_call_id
    if isinstance(message.content, list):
        shown = [part for part in message.content if not isinstance(part, RefusalPart)]
        said["content_parts"] = [part.model_dump(exclude_unset=True) for part in shown]
    return said


def _refusals(message: AssistantMessage) -> Iterator[str]:
    parts = message.content if isinstance(message.content, list) else ()
    yield from (part.refusal for part in parts if isinstance(part, RefusalPart))


def _named(completion_id: str) -> str:
    return f"{RESOURCE}/{completion_id[:64]}"


def absent(completion_id: str, param: str = "completion_id") -> NotFound:
    """The one answer to a question for a completion that was not stored, or is somebody else's."""
    return NotFound(f"No such stored chat completion: {completion_id[:64]}", param=param)
