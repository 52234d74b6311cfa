"""Conversations on a real database, for their tests."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from freehold.gateway.conversations import Conversations
from freehold.gateway.item_store import Holder
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.kept_items import CONVERSATION_TABLES, Page
from freehold.types.content import CONVERSATIONS, RetentionSettings
from freehold.types.conversations import ConversationQuery
from freehold.types.identity import DATA_PLANE, MemberKind, Principal
from freehold.types.items import InputItem
from tests.gateway.kept import items_of

APP = Principal("org", "proj_a", "app", actions=DATA_PLANE)
OTHER_APP = replace(APP, id="other-app")
ANN = Principal("org", "proj_a", "ann", kind=MemberKind.USER, actions=DATA_PLANE)
BOB = replace(ANN, id="bob")
ITEMS: TypeAdapter[list[InputItem]] = TypeAdapter(list[InputItem])


class Clock:
    """A clock that is set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test has."""

    conversations: Conversations
    database: Database
    clock: Clock
    retention: RetentionRegistry

    async def begun(self, principal: Principal, *said: str, metadata: Mapping[str, str] | None = None) -> Holder:
        """A new conversation."""
        return await self.conversations.create(principal, metadata or {}, texts(*said))

    async def said(self, principal: Principal, conversation_id: str) -> list[str]:
        """The first hundred texts of a conversation, the oldest first."""
        found, _ = await self.conversations.list_items(principal, conversation_id, Page(100, newest_first=False))
        return [text_of(item) for item in found]


def texts(*said: str) -> list[InputItem]:
    """Messages."""
    return ITEMS.validate_python([{"role": "user", "content": text} for text in said])


def text_of(item: Mapping[str, Any]) -> str:
    """The text of a message."""
    return str(item["content"][0]["text"])


def run(folder: Path, trial: Callable[[Trial], Awaitable[None]]) -> None:
    """Run a trial on a new home."""

    async def main() -> None:
        database, clock = await Database.open(folder / "freehold.db"), Clock()
        retention = RetentionRegistry(database, RetentionSettings())
        store = items_of(database, clock, CONVERSATIONS, CONVERSATION_TABLES, retention=retention)
        try:
            await trial(Trial(Conversations(store), database, clock, retention))
        finally:
            await database.close()

    asyncio.run(main())


async def listed(conversations: Conversations, principal: Principal, query: ConversationQuery) -> list[str]:
    """The ids of all pages of a list."""
    seen: list[str] = []
    more = True
    while more:
        page = await conversations.list(principal, query)
        assert len(page.found) <= query.limit
        seen += [each.id for each in page.found]
        query, more = replace(query, after=page.last), page.more
    return seen
