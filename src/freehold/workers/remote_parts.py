"""Parts of a gateway that write, as workers have them: the core does it."""

from collections.abc import Mapping
from typing import Any

from freehold.catalog.deployments import Deployment
from freehold.encryption.cipher import ContentCipher
from freehold.gateway.canary import Canaries
from freehold.gateway.flagged import FlaggedContent
from freehold.gateway.item_store import ItemStore
from freehold.gateway.stored_completions import StoredCompletions
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.types.chat import ChatRequest
from freehold.types.content import Tenant
from freehold.types.identity import Principal
from freehold.workers.link import Link


class RemoteCanaries(Canaries):
    """Chooses arms as the core does, by the same digests; what became of requests the core hears, and decides by it.

    Args:
        key: of the digests that choose.
        link: to the core.
    """

    def __init__(self, key: bytes, link: Link) -> None:
        super().__init__(key)
        self._link = link

    def ended(self, deployment: Deployment, *, candidate: bool, failed: bool, took_s: float) -> None:
        """See `Canaries.ended`."""
        if deployment.settings.canary is not None:
            self._link.post("canary", deployment.name, candidate, failed, took_s)


class RemoteFlagged(FlaggedContent):
    """Has the core keep texts that were blocked.

    Args:
        database, cipher, retention: as `FlaggedContent` has them.
        link: to the core.
    """

    def __init__(self, database: Database, cipher: ContentCipher, retention: RetentionRegistry, link: Link) -> None:
        super().__init__(database, cipher, retention)
        self._link = link

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
        """See `FlaggedContent.keep`."""
        texts = {
            "request_id": request_id,
            "prompt": _sound(prompt),
            "completion": _sound(completion),
            "record": record,
            "end_user": end_user,
            "deployment": deployment,
        }
        whose = (tenant.organization_id, tenant.project_id, tenant.owner_id)
        kept: bool = await self._link.ask("keep_flagged", whose, texts)
        return kept


class RemoteCompletions(StoredCompletions):
    """Has the core store completions.

    Args:
        store, retention, digest_key: as `StoredCompletions` has them.
        link: to the core.
    """

    def __init__(self, store: ItemStore, retention: RetentionRegistry, digest_key: bytes, link: Link) -> None:
        super().__init__(store, retention, digest_key)
        self._link = link

    async def keep(self, principal: Principal, request: ChatRequest, completion: Mapping[str, Any]) -> None:
        """See `StoredCompletions.keep`. Workers serve only who comes with an API key."""
        asked = request.model_dump(mode="json", by_alias=True, exclude_unset=True)
        await self._link.ask("keep_completion", principal.key_id, asked, completion)


def _sound(text: str) -> str:
    """A text as UTF-8 can hold it: half a surrogate pair is none."""
    return text.encode("utf-8", "replace").decode()
