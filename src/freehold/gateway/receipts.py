"""Receipts for those who may read them, each with a proof that an auditor can check by itself."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from freehold.errors import InvalidRequest, NotFound, Unavailable
from freehold.governance.authorization import require
from freehold.governance.directory import ORGANIZATION
from freehold.journal.journal import Journal
from freehold.journal.projection import Projection
from freehold.journal.proofs import prove
from freehold.journal.reader import Line, read_line
from freehold.store.receipt_queries import ReceiptQuery, list_receipts, receipt_place
from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_receipts import find_outcome, find_request
from freehold.types.identity import Action, Principal
from freehold.types.receipt import Outcome

_OF_OTHERS = frozenset({Action.READ_AUDIT, Action.READ_USAGE})
PATIENCE_S = 5.0
"""How long a question waits for the newest records to arrive in the usage database."""


@dataclass(frozen=True, slots=True)
class ProvenReceipt:
    """The body of a receipt, and the proof of docs/reference/journal.md."""

    receipt: dict[str, Any]
    proof: dict[str, Any]


class Receipts:
    """Finds receipts by their request's id.

    Args:
        journal: where they are.
        projection: brings them to the usage database.
        usage: knows where in the journal each is.
    """

    def __init__(self, journal: Journal, projection: Projection, usage: UsageDatabase) -> None:
        self._journal = journal
        self._projection = projection
        self._usage = usage

    async def get(self, principal: Principal, request_id: str) -> ProvenReceipt:
        """One receipt of the principal's project; of any of the organization for who may audit it or read its usage.

        Raises:
            Forbidden: the principal may read none.
            NotFound: there is none of that id, or it is another project's.
            Unavailable: the usage database lags behind, so nobody can tell yet.
        """
        require(principal, Action.READ_RECEIPTS, f"receipts/{request_id}")
        line = await self._find(principal, request_id)
        if line is None or not _may_read(principal, line.body):
            raise _not_found(request_id)
        await self._journal.checkpoint()
        try:
            proof = await asyncio.to_thread(prove, self._journal.folder, line.segment, line.offset)
        except FileNotFoundError:
            raise _not_found(request_id) from None
        if proof is None:
            raise Unavailable("The receipt is not covered by a checkpoint yet; try again in a moment.")
        return ProvenReceipt(line.body, proof)

    async def list(
        self, principal: Principal, query: ReceiptQuery, after: str | None
    ) -> tuple[list[dict[str, Any]], bool]:
        """Receipts as the usage database has them, newest first, and whether there are more.

        They are the principal's own; those of its project for who may read its usage or audit it; those of the
        organization for who may do so there.

        Args:
            principal: who asks.
            query: which of them; `after` of it is not read.
            after: the id of the last one that the caller has seen.

        Raises:
            Forbidden: the principal may read none.
            InvalidRequest: there is no receipt `after` among them.
            Unavailable: the usage database cannot be used, or lags behind.
        """
        require(principal, Action.READ_RECEIPTS, "receipts")
        if not await self._projection.caught_up(PATIENCE_S):
            raise Unavailable("The usage database lags behind the journal; try again in a moment.")
        query = replace(query, where=_visible(principal, query.where))
        if after is not None:
            place = await receipt_place(self._usage, query, after)
            if place is None:
                raise InvalidRequest(f"No receipt of this list has the id '{after[:64]}'.", param="after")
            query = replace(query, after=place)
        return await list_receipts(self._usage, query)

    async def outcome(self, request_id: str) -> tuple[Outcome, int] | None:
        """How a request ended and what it was charged, in micro-units; None if there is no receipt. For own use only.

        Raises:
            Unavailable: the usage database lags behind, so nobody can tell yet.
        """
        if not await self._projection.caught_up(PATIENCE_S):
            raise Unavailable("The usage database lags behind the journal; try again in a moment.")
        return await find_outcome(self._usage, request_id)

    async def _find(self, principal: Principal, request_id: str) -> Line | None:
        """The line of a request's receipt; None if there is none, or no more because its segment was retired.

        Raises:
            NotFound: it stands in another gateway's journal; names that one, if the principal may read it.
        """
        place = await find_request(self._usage, request_id)
        if place is None:
            if not await self._projection.caught_up(PATIENCE_S):
                raise Unavailable("The usage database lags behind the journal; try again in a moment.")
            place = await find_request(self._usage, request_id)
        if place is None:
            return None
        if place.writer != self._journal.folder.name:
            whose = {"organization_id": place.organization_id or ORGANIZATION, "project_id": place.project_id}
            raise _elsewhere(request_id, place.writer) if _may_read(principal, whose) else _not_found(request_id)
        try:
            return await asyncio.to_thread(read_line, self._journal.folder, place.segment, place.offset)
        except FileNotFoundError:
            return None


def _may_read(principal: Principal, body: Mapping[str, Any]) -> bool:
    """Whether a receipt is one of the principal's project, or of its organization if it audits that.

    What nobody was let in for, as with a wrong key, is a matter of the organization that runs the service.
    """
    if body.get("organization_id", ORGANIZATION) != principal.organization_id:
        return False
    own = bool(principal.project_id) and body.get("project_id") == principal.project_id
    return own or not principal.organization_actions.isdisjoint(_OF_OTHERS)


def _visible(principal: Principal, where: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """What is asked for, of the receipts that the principal sees in a list."""
    organizations = (principal.organization_id, *([""] if principal.organization_id == ORGANIZATION else []))
    found = {**where, "organization_id": organizations}
    if not principal.organization_actions.isdisjoint(_OF_OTHERS):
        return found
    found["project_id"] = _both((principal.project_id,), where.get("project_id"))
    if principal.actions.isdisjoint(_OF_OTHERS):
        found["principal"] = _both((principal.id,), where.get("principal"))
    return found


def _both(seen: tuple[str, ...], wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    return seen if wanted is None else tuple(set(seen) & set(wanted))


def _elsewhere(request_id: str, writer: str) -> NotFound:
    return NotFound(
        f"The receipt '{request_id[:64]}' stands in the journal of the gateway '{writer}'; ask that one for it.",
        param="request_id",
        code="receipt_elsewhere",
    )


def _not_found(request_id: str) -> NotFound:
    return NotFound(f"No receipt has the id '{request_id[:64]}'.", param="request_id", code="receipt_not_found")
