"""Texts of requests that the content filter blocked, kept for those who may look at them.

Kept only where the policy says so (`keep_flagged`), for as long as content of the kind `flagged` is kept, encrypted
under the key of the project's member who sent it: erasing the member or the project, or revoking the project's key,
closes it. Nothing of a text stands beside it: the row says whose it is, when it was, and what was found, by name.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from freehold.encryption.cipher import ContentCipher
from freehold.errors import (
    ContentUnreadable,
    HomeError,
    InvalidRequest,
    NotFound,
    ProjectKeyRevoked,
    Unavailable,
)
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.kept_flagged import (
    FlaggedQuery,
    KeptFlaggedRow,
    delete_kept_flagged,
    find_kept_flagged,
    get_kept_flagged,
    put_kept_flagged,
)
from freehold.types.content import FLAGGED, Tenant
from freehold.types.content_filter import Side

log = structlog.get_logger(__name__)

MAX_CHARACTERS: Final = 200_000
"""How much of a prompt, and of a completion, is kept: enough to judge by, and no way to fill the disk."""
_FACTS: Final = ("policy", "sha256", "mode", *Side, "blocked")
"""What of the receipt's `filter` is kept beside the text."""


@dataclass(frozen=True, slots=True)
class FlaggedText:
    """What was asked and answered.

    Args:
        prompt: the whole prompt, or its first `MAX_CHARACTERS`.
        completion: likewise, of what the model wrote; empty where nothing was generated.
        cut: the halves of which more was sent than is kept.
    """

    prompt: str
    completion: str
    cut: tuple[str, ...] = ()


class FlaggedContent:
    """The kept texts of one home.

    Args:
        database: where they lie.
        cipher: encrypts them.
        retention: how long each is kept.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        cipher: ContentCipher,
        retention: RetentionRegistry,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._retention = retention
        self._clock = clock

    async def keep(
        self,
        tenant: Tenant,
        request_id: str,
        prompt: str,
        completion: str,
        record: Mapping[str, Any],
        *,
        end_user: str | None = None,
        deployment: str = "",
    ) -> bool:
        """Keep the text of a request that was blocked, if anything is kept for the tenant.

        That it cannot be kept is logged and never raised: the caller's answer does not depend on it.

        Args:
            tenant: whose it is.
            request_id: of the request.
            prompt: what was asked.
            completion: what the model wrote, also what was not sent.
            record: what the receipt's `filter` says.
            end_user: the digest of the end user, if there is one.
            deployment: the one that was asked for.

        Returns:
            Whether it is kept.
        """
        keep_s = self._retention.keep_s(tenant.organization_id, tenant.project_id, FLAGGED)
        if not keep_s:
            return False
        halves = {Side.PROMPT.value: prompt, Side.COMPLETION.value: completion}
        cut = [side for side, text in halves.items() if len(text) > MAX_CHARACTERS]
        text = orjson.dumps({**{side: _sound(text) for side, text in halves.items()}, "cut": cut})
        now = self._clock()
        try:
            row = KeptFlaggedRow(
                request_id=request_id,
                organization_id=tenant.organization_id,
                project_id=tenant.project_id,
                owner_id=tenant.owner_id,
                end_user=end_user or "",
                deployment=deployment,
                found={name: record[name] for name in _FACTS if name in record},
                content=await self._cipher.seal(tenant, FLAGGED.name, request_id, text),
                created_at=math.floor(now),
                expires_at=math.ceil(now + keep_s),
            )
            await put_kept_flagged(self._database, row)
        except (HomeError, ContentUnreadable, ProjectKeyRevoked, Unavailable) as exc:
            log.warning("flagged_not_kept", request_id=request_id, reason=exc.message)
            return False
        return True

    async def list(
        self,
        organization_id: str,
        *,
        projects: Sequence[str] | None = None,
        end_users: Sequence[str] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[list[KeptFlaggedRow], bool]:
        """An organization's kept requests, newest first, without their texts, and whether there are more.

        Args:
            organization_id: whose.
            projects: only of these projects.
            end_users: only of these end users, by their digests.
            after: the id of the request after which to go on.
            limit: how many at most.

        Raises:
            InvalidRequest: nothing is kept of `after`.
        """
        last = None
        if after is not None:
            try:
                last = await self.get(organization_id, after)
            except NotFound:
                raise InvalidRequest("'after' must be the id of an object of this list.", param="after") from None
        query = FlaggedQuery(organization_id, self._clock(), projects, end_users, last, limit)
        return await find_kept_flagged(self._database, query)

    async def get(self, organization_id: str, request_id: str) -> KeptFlaggedRow:
        """What is kept of one request of the organization, its text still encrypted.

        Raises:
            NotFound: nothing is, or no more.
        """
        row = await get_kept_flagged(self._database, request_id)
        if row is None or row.organization_id != organization_id or row.expires_at <= self._clock():
            raise NotFound(f"Nothing is kept of a request '{request_id[:64]}'.", param="request_id")
        return row

    async def open(self, row: KeptFlaggedRow) -> FlaggedText:
        """The text of a kept request.

        Raises:
            ContentUnreadable: it is damaged, its owner was erased, or its master key is not known.
            ProjectKeyRevoked: the project's key is revoked or destroyed.
            KeyServiceUnavailable: its key cannot be unwrapped now.
        """
        tenant = Tenant(row.organization_id, row.project_id, row.owner_id)
        text = orjson.loads(await self._cipher.open(tenant, FLAGGED.name, row.request_id, row.content))
        return FlaggedText(text[Side.PROMPT.value], text[Side.COMPLETION.value], tuple(text["cut"]))

    async def delete(self, row: KeptFlaggedRow) -> None:
        """Delete what is kept of a request."""
        await delete_kept_flagged(self._database, row.request_id)


def _sound(text: str) -> str:
    """The beginning of a text, as UTF-8 can hold it: half a surrogate pair is none."""
    return text[:MAX_CHARACTERS].encode("utf-8", "replace").decode()
