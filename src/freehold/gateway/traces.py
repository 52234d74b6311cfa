"""From an answer, a model or a digest to the data behind it."""

import re
from dataclasses import dataclass
from typing import Any

from freehold.catalog.catalog import Catalog
from freehold.errors import DeploymentNotFound, NotFound, UnknownModel
from freehold.gateway.lineage import Lineage, Node
from freehold.gateway.lineage_check import LineageCheck, Verified
from freehold.gateway.pipeline import Gateway
from freehold.gateway.receipts import ProvenReceipt, Receipts
from freehold.governance.authorization import require
from freehold.store.artifacts import Viewer
from freehold.types.identity import Action, Principal

_TOLD = (
    "request_id",
    "ended_at",
    "outcome",
    "project_id",
    "requested",
    "deployment",
    "model",
    "weights_sha256",
    "config_sha256",
    "content_filter",
    "policy_sha256",
    "parameters",
)
"""What of a receipt leads on to what served the request."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What stands behind something.

    Args:
        id: what was asked for.
        receipt: of the request, if one was asked for.
        tree: the artifacts; None where the answer came from no weights of this machine.
        verified: what a verification found, if one was asked for.
    """

    id: str
    receipt: ProvenReceipt | None
    tree: Node | None
    verified: Verified | None

    def wire(self) -> dict[str, Any]:
        """The trace as JSON values."""
        body = self.receipt.receipt if self.receipt else {}
        return {
            "object": "lineage",
            "id": self.id,
            "answer": {name: body[name] for name in _TOLD if name in body} if self.receipt else None,
            "tree": node_object(self.tree) if self.tree else None,
            "verified": self.verified.wire() if self.verified else None,
        }


class Traces:
    """Finds what stands behind answers.

    Args:
        lineage: knows the artifacts.
        check: verifies them.
        receipts: knows which weights an answer came from.
        catalog: knows which weights a model has.
        gateway: knows which model a deployment serves, and who may see it.
    """

    def __init__(
        self, lineage: Lineage, check: LineageCheck, receipts: Receipts, catalog: Catalog, gateway: Gateway
    ) -> None:
        self._lineage = lineage
        self._check = check
        self._receipts = receipts
        self._catalog = catalog
        self._gateway = gateway

    async def get(self, principal: Principal, name: str, *, verify: bool) -> Trace:
        """What stands behind a request (`req_…`), a digest, a model, or the model of a deployment.

        Args:
            principal: who asks; it sees its project's artifacts and the home's, an administrator the organization's.
            name: of what.
            verify: whether to check everything against the disk and the journal.

        Raises:
            Forbidden: the principal may not read models, or receipts.
            NotFound: there is nothing of that name, or it is another project's.
            Unavailable, AuditUnavailable, KeyServiceUnavailable: it cannot be told now.
        """
        require(principal, Action.READ_MODELS, f"lineage/{name[:64]}")
        viewer, receipt = viewer_of(principal), None
        if name.startswith("req_"):
            receipt = await self._receipts.get(principal, name)
            digest = receipt.receipt.get("weights_sha256")
        else:
            digest = await self._digest_of(principal, name, viewer)
        tree = None if digest is None else await self._lineage.tree(digest, viewer)
        verified = None
        if verify:
            verified = await self._check.verify(tree, receipt.proof if receipt else None)
        return Trace(name, receipt, tree, verified)

    async def _digest_of(self, principal: Principal, name: str, viewer: Viewer) -> str:
        """The digest of an artifact that the viewer may see, from its name."""
        if re.fullmatch(r"[0-9a-f]{64}", name):
            if await self._lineage.get(name, viewer) is not None:
                return name
            raise _absent(name)
        model = await self._lineage.of_model(name, viewer)
        if model is not None:
            return model.digest
        try:
            deployment = self._gateway.model(principal, name)
            return (await self._catalog.find(deployment.settings.model)).sha256
        except (DeploymentNotFound, UnknownModel):
            raise _absent(name) from None


def viewer_of(principal: Principal) -> Viewer:
    """Whose artifacts a principal may see: its project's, or its organization's if it audits that; and the home's."""
    if not principal.organization_actions.isdisjoint({Action.READ_AUDIT, Action.READ_USAGE}):
        return Viewer(principal.organization_id)
    return Viewer(principal.organization_id, principal.project_id) if principal.project_id else Viewer("")


def node_object(node: Node) -> dict[str, Any]:
    """A tree as the API shows it."""
    found: dict[str, Any] = {"object": "artifact", "digest": node.digest, "kind": None, "name": None}
    if node.recorded is not None:
        found = {**node.recorded.artifact.wire(), "record": node.recorded.seq}
    return {
        **found,
        "also": [{"kind": each.artifact.kind.value, "name": each.artifact.name} for each in node.also],
        "parents": [node_object(parent) for parent in node.parents],
        "derived": [node_object(child) for child in node.derived],
        "again": node.again,
    }


def _absent(name: str) -> NotFound:
    return NotFound(
        f"No lineage is recorded of '{name[:128]}': give a request's id, a model or a deployment with weights on this "
        "machine, or a digest.",
        param="id",
        code="lineage_not_found",
    )
