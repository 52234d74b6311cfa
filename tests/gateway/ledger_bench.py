"""A ledger with limits and a clock that are set by hand."""

from datetime import UTC, datetime

import pytest

from freehold.errors import RateLimited
from freehold.gateway.ledger import Ledger
from freehold.governance.limits import UNLIMITED, Limits
from freehold.types.limits import Claim, Scope, Subject

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
DAY_S = 86_400
PROJECT = Subject(Scope.PROJECT, "proj-default")
KEY = Subject(Scope.KEY, "key_1")
USER = Subject(Scope.END_USER, "eu_0123456789")
CHAT = Subject(Scope.DEPLOYMENT, "chat")
SPARE = Subject(Scope.DEPLOYMENT, "spare")


class Bench:
    """The ledger, its limits and its time."""

    def __init__(self, limits: dict[Subject, Limits] | None = None) -> None:
        self.limits = limits or {}
        self.now = NOON
        self.ledger = Ledger(lambda subject: self.limits.get(subject, UNLIMITED), lambda: self.now)

    def claim(self, *subjects: Subject, tokens: int = 0, micro: int = 0, at: float | None = None) -> Claim:
        """A claim of now."""
        return Claim(subjects, tokens, micro, self.now if at is None else at)

    def refused(self, claim: Claim) -> RateLimited:
        """The error of a claim that must be refused."""
        with pytest.raises(RateLimited) as caught:
            self.ledger.reserve(claim)
        return caught.value
