"""Sharing conversations with colleagues, who read them: the owner says so, and the journal records it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from freehold.errors import Conflict
from freehold.gateway.conversations import Conversations, is_changeable
from freehold.gateway.item_store import Holder
from freehold.journal.recorder import Recorder
from freehold.journal.records import Kind
from freehold.store.directory import MemberRow
from freehold.types.identity import Principal


@dataclass(frozen=True, slots=True)
class Shared:
    """Whether a conversation is read by whoever may read in its project.

    Args:
        holder: the conversation.
        shared: whether it is.
        mine: whether the caller may change it.
        owner_name: what its owner is called; None where there is no such member any more.
    """

    holder: Holder
    shared: bool
    mine: bool
    owner_name: str | None


class Sharing:
    """Shares the conversations of persons; those of service accounts are their project's anyway.

    Args:
        conversations: knows them.
        journal: where it is recorded.
        member: gives a member by its id.
    """

    def __init__(
        self, conversations: Conversations, journal: Recorder, member: Callable[[str], MemberRow | None]
    ) -> None:
        self._conversations = conversations
        self._journal = journal
        self._member = member

    async def get(self, principal: Principal, conversation_id: str) -> Shared:
        """Whether a conversation is shared.

        Raises:
            NotFound: there is none of that id for the caller.
            Forbidden: the caller may not read conversations.
        """
        return self._told(principal, await self._conversations.get(principal, conversation_id))

    async def set(self, principal: Principal, conversation_id: str, request_id: str, *, shared: bool) -> Shared:
        """Share a conversation, or end that; what is so already stays so and is not recorded.

        Args:
            principal: who asks.
            conversation_id: names it.
            request_id: names the request.
            shared: whether it is to be.

        Raises:
            NotFound: there is none of that id for the caller.
            Forbidden: it is somebody else's.
            Conflict: it is its project's.
            AuditUnavailable: it cannot be recorded.
        """
        holder = await self._conversations.owned(principal, conversation_id)
        if not holder.row.private:
            raise Conflict("This conversation is a service account's, which its whole project sees and may change.")
        if holder.row.more["shared"] == shared:
            return self._told(principal, holder)
        self._journal.check()
        if shared:  # recorded before anybody can read it, so that no sharing goes unrecorded
            await self._record(principal, holder, request_id, "conversation.shared")
        row = await self._conversations.share(holder, shared=shared)
        if not shared:
            await self._record(principal, holder, request_id, "conversation.unshared")
        return self._told(principal, replace(holder, row=row))

    def owner_name(self, holder: Holder) -> str | None:
        """What the owner of a conversation is called; None where there is no such member any more."""
        member = self._member(holder.row.owner_id)
        return None if member is None else member.name or member.email

    def _told(self, principal: Principal, holder: Holder) -> Shared:
        shared = holder.row.more["shared"] or not holder.row.private
        return Shared(holder, shared, is_changeable(principal, holder), self.owner_name(holder))

    async def _record(self, principal: Principal, holder: Holder, request_id: str, event: str) -> None:
        body: dict[str, Any] = {
            "request_id": request_id,
            "organization_id": principal.organization_id,
            "project_id": principal.project_id,
            "principal": principal.id,
            "principal_kind": principal.kind.value,
            "key_id": principal.key_id or None,
            "auth_method": principal.auth_method,
            "event": event,
            "resource_type": "conversation",
            "resource_id": holder.id,
            "resource_project_id": holder.row.project_id,
        }
        await self._journal.submit(Kind.ADMIN, body, durable=True)
