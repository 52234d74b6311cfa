"""What the ledger must do, as plainly as it can be said: lists of everything that happened, and exact fractions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache

from freehold.governance.limits import Limits
from freehold.types.limits import Claim, Subject

MINUTE_S = 60


@lru_cache(100)
def windows(at: float) -> tuple[str, str]:
    """The day and the month, UTC, of a moment (seconds since the epoch)."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%Y-%m")


@dataclass
class Level:
    """A limit per minute that is used up and refilled, as a level that sinks to nothing."""

    limit: int
    at: float
    used: Fraction = Fraction(0)

    def sink(self, now: float) -> None:
        """Let time pass."""
        self.used = max(Fraction(0), self.used - self._refill(self.at, now))
        self.at = now

    def _refill(self, since: float, now: float) -> Fraction:
        return (Fraction(now) - Fraction(since)) * self.limit / MINUTE_S

    def room(self, amount: Fraction | int) -> bool:
        """Whether an amount fits."""
        return amount <= 0 or self.used + amount <= self.limit

    def unrefilled(self, taken: Fraction, since: float, now: float) -> Fraction:
        """What of an amount taken then has not come back by itself."""
        return max(Fraction(0), taken - self._refill(since, now))


@dataclass
class Taken:
    """What a request holds of one level; `at` is when, `before` what had come back until the limit was last changed."""

    level: Level
    amount: Fraction
    left: Fraction
    at: float

    def pass_time(self, now: float) -> None:
        """Let what is left come back."""
        self.left = self.level.unrefilled(self.left, self.at, now)
        self.at = now

    def correct(self, amount: int) -> None:
        """Have it be that amount, but keep what has come back by itself already."""
        change = max(amount - self.amount, -self.left)
        self.amount += change
        self.left = max(Fraction(0), self.left + change)
        self.level.used += change


@dataclass
class Request:
    """One admitted request."""

    claim: Claim
    begun: float
    tokens: dict[Subject, Taken]
    charged: int | None = None
    used: int = 0


@dataclass
class Model:
    """Everybody's requests and levels."""

    now: float
    limits: dict[Subject, Limits] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    rpm: dict[Subject, Level] = field(default_factory=dict)
    tpm: dict[Subject, Level] = field(default_factory=dict)
    ended: list[tuple[int, Claim, int]] = field(default_factory=list)
    past: dict[tuple[str, Subject], int] = field(default_factory=dict)
    """What was charged before the last crash."""
    sums: dict[tuple[str, Subject], tuple[int, int]] | None = None

    def effective(self, subject: Subject) -> Limits:
        """The limits as they are."""
        return self.limits.get(subject, Limits())

    def pass_time(self, now: float) -> None:
        """Bring everything up to a moment."""
        self.now = now
        for taken in self._taken():
            taken.pass_time(now)
        for level in (*self.rpm.values(), *self.tpm.values()):
            level.sink(now)

    def _taken(self) -> Iterator[Taken]:
        for request in self.open():
            yield from request.tokens.values()

    def open(self) -> list[Request]:
        """Requests that run."""
        return [request for request in self.requests if request.charged is None]

    def spent(self, subject: Subject, window: str) -> int:
        """What is charged."""
        return self._sums().get((window, subject), (0, 0))[0]

    def reserved(self, subject: Subject, window: str) -> int:
        """What is reserved by requests that run."""
        return self._sums().get((window, subject), (0, 0))[1]

    def _sums(self) -> dict[tuple[str, Subject], tuple[int, int]]:
        """What is charged and what reserved, added up anew after each change."""
        if self.sums is None:
            self.sums = {place: (micro, 0) for place, micro in self.past.items()}
            for request in self.requests:
                charged, reserved = request.charged or 0, request.claim.cost_micro if request.charged is None else 0
                for window in windows(request.claim.at):
                    for subject in request.claim.subjects:
                        before = self.sums.get((window, subject), (0, 0))
                        self.sums[window, subject] = (before[0] + charged, before[1] + reserved)
        return self.sums

    def running(self, subject: Subject) -> int:
        """How many requests of a subject run."""
        return sum(subject in request.claim.subjects for request in self.open())

    def full(self, claim: Claim, moved: Request | None = None) -> set[Subject]:
        """Who has no room for a request; for one that is moved, besides what it has already."""
        return {subject for subject in claim.subjects if not self._room(subject, claim, moved)}

    def _room(self, subject: Subject, claim: Claim, moved: Request | None) -> bool:
        limits = self.effective(subject)
        stays = moved is not None and subject in moved.claim.subjects
        needed: Fraction | int = claim.tokens
        if moved is not None and stays:
            taken = moved.tokens.get(subject)
            needed = needed - taken.amount if taken and taken.level is self.tpm.get(subject) else 0
        fits = needed <= 0 or claim.tokens <= (limits.tokens_per_minute or 0)
        if subject in self.tpm and not (self.tpm[subject].room(needed) and fits):
            return False
        if not stays:
            if subject in self.rpm and not self.rpm[subject].room(1):
                return False
            if limits.concurrent_requests is not None and self.running(subject) >= limits.concurrent_requests:
                return False
        budgets = (limits.budget_per_day, limits.budget_per_month)
        return not claim.cost_micro or all(
            budget is None or self._held(subject, window, moved) + claim.cost_micro <= budget
            for budget, window in zip(budgets, windows(claim.at), strict=True)
        )

    def _held(self, subject: Subject, window: str, moved: Request | None) -> int:
        counted = moved is not None and subject in moved.claim.subjects and window in windows(moved.claim.at)
        own = moved.claim.cost_micro if moved is not None and counted else 0
        return self.spent(subject, window) + self.reserved(subject, window) - own

    def admit(self, claim: Claim) -> Request:
        """Let a request in."""
        request = Request(claim, self.now, {})
        self._enter(request, claim.subjects)
        self.requests.append(request)
        self.sums = None
        return request

    def _enter(self, request: Request, subjects: tuple[Subject, ...]) -> None:
        for subject in subjects:
            if subject in self.rpm:
                self.rpm[subject].used += 1
            if subject in self.tpm:
                amount = Fraction(request.claim.tokens)
                self.tpm[subject].used += amount
                request.tokens[subject] = Taken(self.tpm[subject], amount, amount, self.now)

    def settle(self, request: Request, tokens: int, cost_micro: int) -> int:
        """End a request; what it is charged."""
        for taken in request.tokens.values():
            taken.correct(tokens)
        request.charged = min(cost_micro, request.claim.cost_micro)
        request.used = tokens
        self.sums = None
        self.ended.append((int(self.now), request.claim, tokens))
        return request.charged

    def move(self, request: Request, claim: Claim) -> None:
        """Exchange a request's claim."""
        for subject in set(request.claim.subjects) - set(claim.subjects):
            if subject in request.tokens:
                request.tokens.pop(subject).correct(0)
        for taken in request.tokens.values():
            taken.correct(claim.tokens)
        new = tuple(subject for subject in claim.subjects if subject not in request.claim.subjects)
        request.claim = claim
        self.sums = None
        self._enter(request, new)

    def change(self, subject: Subject, limits: Limits) -> None:
        """Set other limits."""
        self.limits[subject] = limits
        for levels, limit in ((self.rpm, limits.requests_per_minute), (self.tpm, limits.tokens_per_minute)):
            self._change_level(levels, subject, limit)

    def _change_level(self, levels: dict[Subject, Level], subject: Subject, limit: int | None) -> None:
        level = levels.get(subject)
        if limit is None:
            levels.pop(subject, None)
        elif level is None:
            levels[subject] = Level(limit, self.now)
        else:
            if limit < level.limit:
                # In the ledger's own grain, of a 60-millionth: what is used is rounded up.
                grain = MINUTE_S * 1_000_000
                scaled = Fraction(-((-level.used * grain * limit) // level.limit), grain)
                given = level.used - scaled
                level.used = scaled
                for taken in self._taken():
                    if taken.level is level:
                        taken.left = max(Fraction(0), taken.left - given)
            level.limit = limit

    def crash(self, kept: tuple[str, ...]) -> tuple[dict[str, dict[str, int]], dict[int, dict[str, list[int]]]]:
        """Settle what runs as interrupted, forget all but what the journal carries, and give that."""
        for request in self.open():
            self.settle(request, request.claim.tokens // 2, request.claim.cost_micro // 2)
        for request in self.requests:
            for window in windows(request.claim.at):
                for subject in request.claim.subjects:
                    self.past[window, subject] = self.past.get((window, subject), 0) + (request.charged or 0)
        self.past = {key: micro for key, micro in self.past.items() if key[0] in kept and micro}
        self.requests, self.sums = [], None
        recent = self._recent()
        for levels in (self.rpm, self.tpm):
            for level in levels.values():
                level.used = Fraction(0)
        self._recall(recent)
        spent: dict[str, dict[str, int]] = {}
        for (window, subject), micro in self.past.items():
            spent.setdefault(window, {})[str(subject)] = micro
        return spent, recent

    def _recent(self) -> dict[int, dict[str, list[int]]]:
        recent: dict[int, dict[str, list[int]]] = {}
        for second, claim, tokens in self.ended:
            if second > self.now - MINUTE_S:
                for subject in claim.subjects:
                    entry = recent.setdefault(second, {}).setdefault(str(subject), [0, 0])
                    entry[0] += 1
                    entry[1] += tokens
        return recent

    def _recall(self, recent: Mapping[int, Mapping[str, list[int]]]) -> None:
        for which, levels in enumerate((self.rpm, self.tpm)):
            for subject, level in levels.items():
                first = True
                for second in sorted(recent):
                    if str(subject) in recent[second]:
                        level.at = float(second) if first else level.at
                        first = False
                        level.sink(second)
                        level.used = min(level.used + recent[second][str(subject)][which], Fraction(level.limit))
                if first:
                    level.at = self.now
                level.sink(self.now)
