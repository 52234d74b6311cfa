"""The books: every request is opened here, admitted here and closed here, and the journal has it.

Admission takes from every limit at once or not at all, at the desk; the record of it is written
before an engine is called. Closing settles the grant, and the receipt is on the disk before the last byte is sent.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from freehold.catalog.deployments import Deployment
from freehold.errors import AuditUnavailable, FreeholdError, RateLimited
from freehold.gateway.account import Account, Admission
from freehold.gateway.bounds import Bounds
from freehold.gateway.capacity import CAPACITY, PROVISIONED, SPILLED
from freehold.gateway.desk import Desk
from freehold.governance.digests import Digests
from freehold.journal.journal import Journal, Position
from freehold.journal.projection import Projection
from freehold.journal.records import Kind
from freehold.types.identity import Principal
from freehold.types.limits import Claim, Scope, Subject
from freehold.types.price import FREE, Price
from freehold.types.receipt import Admitted


class Backlog:
    """A journal that takes nothing new on while what is read from it lags too far behind.

    Args:
        journal: the journal.
        projection: brings the records to the usage database.
        most: how many records it may lag behind.
    """

    def __init__(self, journal: Journal, projection: Projection, most: int) -> None:
        self._journal = journal
        self._projection = projection
        self._most = most

    def check(self) -> None:
        """See `Recorder.check`."""
        self._journal.check()
        if self._projection.lag > self._most:
            raise AuditUnavailable(
                "The usage database is too far behind the journal, so nothing new is accepted; "
                "see that it can be reached and written."
            )

    def submit(self, kind: Kind, body: Mapping[str, Any], *, durable: bool) -> asyncio.Future[Position]:
        """See `Recorder.submit`."""
        return self._journal.submit(kind, body, durable=durable)


class Books:
    """Keeps the accounts of all requests.

    Args:
        desk: where requests are admitted, and what comes of them is recorded.
        digests: names for what must not be told.
        pair: what counts what a project uses of a deployment, if that is limited.
    """

    def __init__(self, desk: Desk, digests: Digests, pair: Callable[[str, str], Subject | None]) -> None:
        self._desk = desk
        self._pair = pair
        self._listeners: list[Callable[[Account], None]] = []
        self.digests = digests

    def on_close(self, listener: Callable[[Account], None]) -> None:
        """Tell `listener` of every account that is closed, with its receipt."""
        self._listeners.append(listener)

    def open(self, request_id: str, route: str, dialect: str) -> Account:
        """Begin the account of a request.

        Raises:
            AuditUnavailable: the journal cannot be written, so nothing may happen.
        """
        self._desk.check()
        return Account(request_id, route, dialect, self.digests)

    async def admit(
        self,
        account: Account,
        principal: Principal,
        candidates: Sequence[Deployment],
        bounds: Callable[[Deployment], Bounds],
    ) -> list[Deployment]:
        """Reserve what the request may use on the first candidate that has room, and record it.

        Returns:
            The candidates from that one on.

        Raises:
            RateLimited: a limit is reached: of the caller, or of every candidate.
            AuditUnavailable: the journal cannot be written.
        """
        for position, deployment in enumerate(candidates):
            claim, price, likely_prompt_tokens = self._claim(account, principal, deployment, bounds(deployment))
            _note_capacity(account, candidates[0], deployment)
            admitted = _admitted(account, principal, deployment, claim, price, likely_prompt_tokens)
            try:
                grant = await self._desk.admit(claim, admitted)
            except RateLimited as exc:
                account.notes.pop(CAPACITY, None)
                if position == len(candidates) - 1 or not fallback_may_have_room(exc):
                    raise
                account.spilled_from = candidates[0].name
                continue
            account.admission = Admission(deployment, grant, price, likely_prompt_tokens)
            return list(candidates[position:])
        raise AssertionError("the last candidate's limit was raised")

    async def move(
        self,
        account: Account,
        principal: Principal,
        deployment: Deployment,
        bounds: Callable[[Deployment], Bounds],
    ) -> None:
        """Exchange the reservation for one on another deployment, because the first cannot serve.

        Raises:
            RateLimited: there is no room; the reservation is as it was.
            AuditUnavailable: the journal cannot be written.
        """
        admission = account.admission
        assert admission is not None, "only what was admitted can move"
        claim, price, likely_prompt_tokens = self._claim(account, principal, deployment, bounds(deployment))
        noted = dict(account.notes)
        _note_capacity(account, admission.deployment, deployment)
        admitted = _admitted(account, principal, deployment, claim, price, likely_prompt_tokens)
        try:
            await self._desk.move(claim, admitted)
        except RateLimited:
            account.notes = noted
            raise
        account.spilled_from = account.spilled_from or admission.deployment.name
        account.admission = Admission(deployment, admission.grant, price, likely_prompt_tokens)

    async def announce(self, account: Account, principal: Principal) -> None:
        """Record that something is about to be done that has no deployment and reserves nothing.

        Raises:
            AuditUnavailable: the journal cannot be written.
        """
        await self._desk.announce(_announced(account, principal))

    def close(self, account: Account, error: FreeholdError | None, status: int) -> asyncio.Future[Position] | None:
        """Settle and record the end of a request; the future is done when that is on the disk.

        The record is under way when this returns: whoever waits for the future may be cancelled.

        Returns:
            None where there is nothing to record, because nothing was done for want of a journal.
        """
        if isinstance(error, AuditUnavailable) and account.admission is None:
            account.closed = True
            return None
        receipt = account.close(error, status)
        done = self._desk.submit(Kind.RECEIPT, receipt.body(), durable=True)
        for listener in self._listeners:
            listener(account)
        return done

    def running(self) -> frozenset[str]:
        """The ids of the requests that were admitted and have not ended."""
        return self._desk.running()

    def headers(self, account: Account) -> dict[str, str]:
        """The `x-ratelimit-*` of an answer."""
        return {} if account.admission is None else account.admission.grant.headers()

    def _claim(
        self, account: Account, principal: Principal, deployment: Deployment, bounds: Bounds
    ) -> tuple[Claim, Price, int]:
        price = deployment.settings.price_at(account.started_at).times(account.price_factor)
        pair = self._pair(principal.project_id, deployment.name)
        claim = Claim(
            subjects=subjects_of(
                principal.organization_id,
                principal.project_id,
                principal.key_id,
                deployment.name,
                pair,
                account.end_user,
            ),
            tokens=bounds.likely_prompt_tokens + bounds.likely_completion_tokens,
            cost_micro=price.bound_micro(
                prompt_tokens=bounds.prompt_tokens, completion_tokens=bounds.completion_tokens, images=bounds.images
            ),
            at=account.started_at,
            work=None if deployment.settings.capacity is None else bounds.work,
        )
        return claim, price, min(bounds.likely_prompt_tokens, bounds.prompt_tokens)


def _note_capacity(account: Account, first: Deployment, deployment: Deployment) -> None:
    """Note whether a deployment serves a request with provisioned units, or because those of the first cannot."""
    if deployment is not first and first.settings.capacity is not None:
        account.notes[CAPACITY] = SPILLED
    elif deployment.settings.capacity is not None:
        account.notes[CAPACITY] = PROVISIONED


def fallback_may_have_room(refusal: RateLimited) -> bool:
    """Whether a limit is the deployment's, so that another deployment may take the request."""
    return refusal.scope == Scope.DEPLOYMENT


@lru_cache(maxsize=1024)
def subjects_of(
    organization_id: str, project_id: str, key_id: str, deployment: str, pair: Subject | None, end_user: str | None
) -> tuple[Subject, ...]:
    """On whom a request counts: the same for all requests of one caller to one deployment."""
    found = [
        Subject(Scope.ORGANIZATION, organization_id),
        Subject(Scope.PROJECT, project_id),
        Subject(Scope.DEPLOYMENT, deployment),
    ]
    if pair is not None:
        found.append(pair)
    if key_id:
        found.append(Subject(Scope.KEY, key_id))
    if end_user is not None:
        found.append(Subject(Scope.END_USER, end_user))
    return tuple(found)


def _admitted(
    account: Account, principal: Principal, deployment: Deployment, claim: Claim, price: Price, prompt_tokens: int
) -> Admitted:
    """What is written down of an admission, before anything is done for it."""
    return Admitted(  # by their places, as names would take several times as long
        account.request_id,
        account.started,
        account.route,
        account.dialect,
        principal.organization_id,
        principal.project_id,
        principal.key_id or None,
        principal.id,
        principal.auth_method,
        deployment.name,
        claim.tokens,
        claim.cost_micro,
        prompt_tokens,
        price.cost_micro(prompt_tokens=prompt_tokens),
        price.version,
        account.end_user,
        account.tier.value,
        account.notes or None,
    )


def _announced(account: Account, principal: Principal) -> Admitted:
    return Admitted(
        request_id=account.request_id,
        started_at=account.started,
        route=account.route,
        dialect=account.dialect,
        organization_id=principal.organization_id,
        project_id=principal.project_id,
        key_id=principal.key_id or None,
        principal=principal.id,
        auth_method=principal.auth_method,
        deployment=None,
        reserved_tokens=0,
        reserved_micro=0,
        prompt_tokens=0,
        prompt_micro=0,
        price_version=FREE.version,
        end_user=account.end_user,
        parameters={**(account.parameters or {}), **account.notes},
    )
