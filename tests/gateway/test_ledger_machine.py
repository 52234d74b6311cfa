"""The ledger against its model, through any sequence of requests, crashes, hours and changes of limits."""

import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from freehold.errors import QuotaExceeded, RateLimited
from freehold.gateway.ledger import Charge, Grant, Ledger
from freehold.governance.limits import Limits
from freehold.types.limits import Claim, Scope, Subject
from tests.gateway.ledger_model import MINUTE_S, Model, Request, windows

ORGANIZATION = Subject(Scope.ORGANIZATION, "o")
PROJECT = Subject(Scope.PROJECT, "p")
KEYS = (Subject(Scope.KEY, "k1"), Subject(Scope.KEY, "k2"))
USER = Subject(Scope.END_USER, "eu_1")
DEPLOYMENTS = (Subject(Scope.DEPLOYMENT, "d1"), Subject(Scope.DEPLOYMENT, "d2"))
EVERYBODY = (ORGANIZATION, PROJECT, *KEYS, USER, *DEPLOYMENTS)

BEGIN = datetime(2026, 11, 28, 23, 58, tzinfo=UTC).timestamp()
"""Two days and two minutes before the end of a month."""

AMOUNTS = st.integers(0, 12)
CALLERS = st.sampled_from(
    [(key, user, deployment) for key in KEYS for user in (None, USER) for deployment in DEPLOYMENTS]
)
PASSING_S = (0.25, 0.5, 1.0, 3.0, 10.0, 59.75, 61.0, 3600.0, 86_400.0)
VALUES: dict[str, tuple[int | None, ...]] = {
    "requests_per_minute": (None, None, 0, 3, 7, 20),
    "tokens_per_minute": (None, 0, 15, 30, 100),
    "concurrent_requests": (None, None, 0, 2, 5),
    "budget_per_day": (None, None, 0, 15, 40, 200),
    "budget_per_month": (None, None, 25, 100, 400),
}
LIMITS = st.builds(Limits, **{name: st.sampled_from(values) for name, values in VALUES.items()})


class LedgerMachine(RuleBasedStateMachine):
    """Does to both the same, and compares."""

    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.model = Model(BEGIN)
        self.ledger = self._ledger()
        self.grants: list[tuple[Grant, Request]] = []
        self.ceilings: dict[tuple[Subject, str], int] = {}
        """What was held of a budget when it was set, where that was more than the budget."""
        self.begun: dict[Subject, list[Request]] = {}
        """Requests since a subject's tokens per minute were last set."""

    def _ledger(self) -> Ledger:
        return Ledger(self.model.effective, lambda: self.now)

    @initialize(limits=st.lists(st.tuples(st.sampled_from(EVERYBODY), LIMITS), min_size=2, max_size=8))
    def begin(self, limits: list[tuple[Subject, Limits]]) -> None:
        """Set limits."""
        for subject, values in limits:
            self.change(subject, values)

    def _claim(self, caller: tuple[Subject, Subject | None, Subject], tokens: int, cost: int, at: float) -> Claim:
        key, user, deployment = caller
        subjects = (ORGANIZATION, PROJECT, key, *([user] if user else []), deployment)
        return Claim(subjects, tokens, cost, at)

    @rule(caller=CALLERS, tokens=AMOUNTS, cost=AMOUNTS, waited=st.sampled_from((0.0, 0.0, 2.0)))
    def reserve(self, caller: tuple[Subject, Subject | None, Subject], tokens: int, cost: int, waited: float) -> None:
        """A request comes; it is admitted exactly if everybody has room."""
        claim = self._claim(caller, tokens, cost, self.now - waited)
        full = self.model.full(claim)
        if full:
            with pytest.raises(RateLimited) as refused:
                self.ledger.reserve(claim)
            assert refused.value.scope in {subject.scope for subject in full}
            assert isinstance(refused.value, QuotaExceeded) == ("budget" in refused.value.message)
            return
        self.grants.append((self.ledger.reserve(claim), self.model.admit(claim)))
        for subject in claim.subjects:
            self.begun.setdefault(subject, []).append(self.grants[-1][1])

    @rule(which=st.integers(0, 50), tokens=AMOUNTS, cost=AMOUNTS)
    def settle(self, which: int, tokens: int, cost: int) -> None:
        """A request ends."""
        if self.grants:
            grant, request = self.grants.pop(which % len(self.grants))
            charge = grant.settle(tokens, cost)
            charged = self.model.settle(request, tokens, cost)
            assert charge == Charge(charged, cost - charged)

    @rule(which=st.integers(0, 50))
    def cancel(self, which: int) -> None:
        """A request is given up."""
        if self.grants:
            grant, request = self.grants.pop(which % len(self.grants))
            grant.cancel()
            self.model.settle(request, 0, 0)

    @rule(which=st.integers(0, 50), deployment=st.sampled_from(DEPLOYMENTS), tokens=AMOUNTS, cost=AMOUNTS)
    def move(self, which: int, deployment: Subject, tokens: int, cost: int) -> None:
        """A request goes over to a fallback, or stays where it is if there is no room."""
        if not self.grants:
            return
        grant, request = self.grants[which % len(self.grants)]
        old = request.claim
        claim = Claim((*old.subjects[:-1], deployment), tokens, cost, old.at)
        full = self.model.full(claim, moved=request)
        if full:
            with pytest.raises(RateLimited) as refused:
                grant.move(claim)
            assert refused.value.scope in {subject.scope for subject in full}
            assert grant.claim == old
            return
        grant.move(claim)
        self.model.move(request, claim)
        if deployment not in old.subjects:
            # What it took of the new deployment it took just now.
            left = self.begun.get(old.subjects[-1], [])
            self.begun[old.subjects[-1]] = [each for each in left if each is not request]
            self.begun.pop(deployment, None)

    @rule(seconds=st.sampled_from(PASSING_S))
    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.model.pass_time(self.now)

    @rule(end=st.sampled_from(("day", "month")), before=st.sampled_from((1.0, 0.25, 0.0, -1.0)))
    def pass_to_the_end(self, end: str, before: float) -> None:
        """Time passes to shortly before or after the end of a day or a month."""
        today = datetime.fromtimestamp(self.now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        tomorrow = today + timedelta(days=1)
        ends = tomorrow if end == "day" else (today.replace(day=28) + timedelta(days=4)).replace(day=1)
        self.pass_time(max(0.0, ends.timestamp() - before - self.now))

    @rule(subject=st.sampled_from(EVERYBODY), limits=LIMITS)
    def change(self, subject: Subject, limits: Limits) -> None:
        """Limits are set, changed or lifted."""
        if self.model.effective(subject).tokens_per_minute != limits.tokens_per_minute:
            self.begun.pop(subject, None)
        self.model.change(subject, limits)
        self.ledger.refresh(subject.scope, subject.id)
        for window in windows(self.now):
            self.ceilings[subject, window] = self.model.spent(subject, window) + self.model.reserved(subject, window)

    @rule()
    def crash(self) -> None:
        """The process dies; a new one is told what the journal knows."""
        kept = {window for ago in (0, 1) for window in windows(self.now - ago * 86_400)}
        last_month = datetime.fromtimestamp(self.now, UTC).replace(day=1) - timedelta(days=1)
        spent, recent = self.model.crash((*kept, last_month.strftime("%Y-%m")))
        self.ledger = self._ledger()
        self.ledger.restore(spent, recent)
        self.grants = []
        self.begun = {}

    @invariant()
    def nobody_has_more_than_is_allowed(self) -> None:
        """Money, running requests and what buckets lack are the model's; and no budget is exceeded.

        But for budgets that were set to less than what was held already: of those no more may be taken.
        """
        LedgerMachine.steps += 1
        model, (day, month) = self.model, windows(self.now)
        for subject in EVERYBODY:
            use, limits = self.ledger.use(subject), model.effective(subject)
            assert use.concurrent == model.running(subject)
            for found, levels in ((use.requests, model.rpm), (use.tokens, model.tpm)):
                level = levels.get(subject)
                assert found == (0 if level is None else -(-level.used // 1))
            for window, budget, spent, reserved in (
                (day, limits.budget_per_day, use.spent_day, use.reserved_day),
                (month, limits.budget_per_month, use.spent_month, use.reserved_month),
            ):
                assert (spent, reserved) == (model.spent(subject, window), model.reserved(subject, window))
                assert budget is None or spent + reserved <= max(budget, self.ceilings.get((subject, window), 0))

    @invariant()
    def no_stretch_of_time_uses_more_than_limit_and_refill(self) -> None:
        """From any moment until now, requests begun use no more tokens than the limit and the refill of that time."""
        for subject, requests in self.begun.items():
            limit = self.model.effective(subject).tokens_per_minute
            used = 0
            if limit is None:
                continue
            for request in reversed(requests):
                taken = request.claim.tokens if request.charged is None else min(request.used, request.claim.tokens)
                used += taken
                passed = Fraction(self.now) - Fraction(request.begun)
                assert used <= limit + limit * passed / MINUTE_S

    def teardown(self) -> None:
        """After all are settled nothing is open and nothing reserved."""
        while self.grants:
            self.cancel(0)
        for subject in EVERYBODY:
            use = self.ledger.use(subject)
            assert (use.concurrent, use.reserved_day, use.reserved_month) == (0, 0, 0)


class LongLedgerMachine(LedgerMachine):
    """Makes forty steps in one, so that choosing them does not take longer than checking them."""

    @rule(seed=st.integers(0, 2**32))
    def several(self, seed: int) -> None:
        """Any forty steps."""
        dice = random.Random(seed)
        for _ in range(40):
            self._one(dice)
            self.nobody_has_more_than_is_allowed()
            self.no_stretch_of_time_uses_more_than_limit_and_refill()

    def _one(self, dice: random.Random) -> None:
        amounts = dice.randrange(13), dice.randrange(13)
        match dice.choices(range(8), (30, 25, 8, 12, 20, 4, 1, 6))[0]:
            case 0:
                caller = (dice.choice(KEYS), dice.choice((None, USER)), dice.choice(DEPLOYMENTS))
                self.reserve(caller, *amounts, dice.choice((0.0, 0.0, 2.0)))
            case 1:
                self.settle(dice.randrange(50), *amounts)
            case 2:
                self.cancel(dice.randrange(50))
            case 3:
                self.move(dice.randrange(50), dice.choice(DEPLOYMENTS), *amounts)
            case 4:
                self.pass_time(dice.choice(PASSING_S))
            case 5:
                self.pass_to_the_end(dice.choice(("day", "month")), dice.choice((1.0, 0.25, 0.0, -1.0)))
            case 6:
                self.crash()
            case 7:
                values = {name: dice.choice(choices) for name, choices in VALUES.items()}
                self.change(dice.choice(EVERYBODY), Limits(**values))


def _run(machine: type[LedgerMachine], examples: int, steps: int) -> int:
    """Run so many sequences of so many steps; how many steps were made."""
    LedgerMachine.steps = 0
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    return LedgerMachine.steps


@pytest.mark.slow
def test_the_ledger_does_what_its_model_does_for_long() -> None:
    """Likewise through ten thousand steps and more, of which forty are chosen at once."""
    steps = 0
    while steps < 10_000:
        steps += _run(LongLedgerMachine, 10, 50)
    assert steps >= 10_000


def test_the_ledger_does_what_its_model_does() -> None:
    """Through a few thousand steps of any kind, the ledger admits, refuses, charges and shows what the model does."""
    assert _run(LedgerMachine, 60, 50) >= 2_000


@pytest.mark.slow
@pytest.mark.long
def test_the_ledger_does_what_its_model_does_for_very_long() -> None:
    """Likewise through a hundred thousand steps."""
    steps = 0
    while steps < 100_000:
        steps += _run(LongLedgerMachine, 100, 50)
    assert steps >= 100_000
