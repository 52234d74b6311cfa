"""Changing what is kept and under which keys: revoking and restoring a project's key, retention, the master key."""

from typing import Any

from freehold.encryption.content_keys import ContentKeys, Rewrapped
from freehold.gateway.control import DeploymentControl
from freehold.gateway.flagged import FlaggedContent
from freehold.gateway.retention import Sweep
from freehold.governance.retention import RetentionRegistry
from freehold.store.content_keys import ContentKeyRow
from freehold.types.content import KINDS, KeyState, RetentionOverride


class ContentControl:
    """The operations on content keys and retention; each holds at once.

    Args:
        keys: the content keys.
        retention: how long each kind is kept.
        sweep: deletes what may not stay.
        deployments: those of a project whose key is revoked stop.
        flagged: kept texts that the content filter blocked.
    """

    def __init__(
        self,
        keys: ContentKeys,
        retention: RetentionRegistry,
        sweep: Sweep,
        deployments: DeploymentControl,
        flagged: FlaggedContent,
    ) -> None:
        self._keys = keys
        self._retention = retention
        self._sweep = sweep
        self._deployments = deployments
        self.flagged = flagged

    def state(self, organization_id: str, project_id: str) -> KeyState:
        """The state of a project's key."""
        return self._keys.state(organization_id, project_id)

    async def revoke(self, organization_id: str, project_id: str) -> bool:
        """Revoke a project's key: what runs for the project ends, nothing is begun, its own deployments stop.

        Returns:
            False if it was revoked already.

        Raises:
            Conflict: it is destroyed.
        """
        changed = await self._keys.revoke(organization_id, project_id)
        await self._deployments.review()
        return changed

    async def restore(self, organization_id: str, project_id: str) -> bool:
        """Undo a revocation; false if there was none.

        Raises:
            Conflict: the key is destroyed.
        """
        changed = await self._keys.restore(organization_id, project_id)
        await self._deployments.review()
        return changed

    async def keys(self, organization_id: str) -> list[ContentKeyRow]:
        """An organization's keys, destroyed ones included."""
        return await self._keys.rows(organization_id)

    async def masters(self) -> tuple[str, dict[str, int]]:
        """The name of the master key in use, and how many keys each master key wraps."""
        return self._keys.master, await self._keys.masters()

    async def rewrap(self, after: str) -> Rewrapped:
        """One step of exchanging the master key; see `ContentKeys.rewrap`."""
        return await self._keys.rewrap(after)

    def retention(self, organization_id: str, project_id: str = "") -> dict[str, Any]:
        """What is set for a project, or for an organization, and what holds."""
        given = self._retention.get(organization_id, project_id)
        holds = self._retention.effective(organization_id, project_id)
        return {
            "type": self._retention.type_of(organization_id, project_id),
            "store": given.store,
            "keep_s": dict(given.keep_s),
            "effective": {"zero": holds.zero, "store": holds.store, "keep_s": dict(holds.keep_s)},
        }

    async def set_retention(self, organization_id: str, project_id: str, settings: RetentionOverride) -> dict[str, int]:
        """Set it; what may not stay any more goes now.

        Returns:
            How much went, by kind.

        Raises:
            UnsupportedParameter: an organization cannot have this.
        """
        if not await self._retention.put(organization_id, project_id, settings):
            return {kind.name: 0 for kind in KINDS}
        return await self._sweep.run()

    async def set_type(self, organization_id: str, project_id: str, settings: RetentionOverride) -> dict[str, int]:
        """Set only how much is kept, and leave the times as they are; as `set_retention`."""
        given = self._retention.get(organization_id, project_id)
        return await self.set_retention(organization_id, project_id, given.model_copy(update={"type": settings.type}))
