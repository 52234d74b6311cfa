"""That no limit and no budget is exceeded, counted from the requests themselves."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

from freehold.governance.limits import Limits, effective
from freehold.simulation.gateway import Request
from freehold.simulation.world import World
from freehold.types.limits import Claim, Subject

Tell: TypeAlias = Callable[[str, str, str], None]
_MINUTE_S: Final = 60.0
_ALMOST: Final = 1e-6


class LimitChecks:
    """Keeps its own accounts of all requests.

    Args:
        world: whose requests.
        tell: told of what does not hold: the invariant, of what, and what was seen.
    """

    def __init__(self, world: World, tell: Tell) -> None:
        self._world = world
        self._tell = tell
        self._open: dict[Request, Claim] = {}
        self._spent: defaultdict[tuple[str, Subject], int] = defaultdict(int)
        self._begun: defaultdict[Subject, list[tuple[float, int]]] = defaultdict(list)
        """When requests that counted on a subject began, and the tokens that they used in the end."""
        self._times: dict[tuple[Request, Subject], float] = {}
        self._levels: dict[Subject, tuple[float, float]] = {}
        self._effective: dict[Subject, Limits] = {}
        world.gateway.on_close = self._closed

    def look(self) -> None:
        """See who has come and who has moved, and whether all of it is within the limits."""
        for request in self._world.gateway.running:
            grant = request.grant
            assert grant is not None, "what is on its way was admitted"
            before = self._open.get(request)
            if before is not grant.claim:
                self._open[request] = grant.claim
                counted = before.subjects if before is not None else ()
                self._count(request, [subject for subject in grant.claim.subjects if subject not in counted])
        self._look_at_budgets()

    def finish(self) -> None:
        """See, after all is over, whether the tokens of any stretch of time were within the limits per minute."""
        for subject, begun in self._begun.items():
            limit = self._limits(subject).tokens_per_minute
            if limit is None:
                continue
            level, since = 0.0, 0.0
            for began, tokens in sorted(begun):
                level = max(0.0, level - (began - since) * limit / _MINUTE_S) + tokens
                since = began
                if level > limit + _ALMOST * limit:
                    self._tell("tokens per minute are kept", str(subject), f"{level:.1f} of {limit} were used")

    def _count(self, request: Request, subjects: Sequence[Subject]) -> None:
        """Requests per minute: in any stretch of time at most the limit, and what comes back in that time."""
        now = self._world.agenda.now
        for subject in subjects:
            self._times[request, subject] = now
            limits = self._limits(subject)
            if limits.requests_per_minute is not None:
                level, since = self._levels.get(subject, (0.0, now))
                level = max(0.0, level - (now - since) * limits.requests_per_minute / _MINUTE_S) + 1
                self._levels[subject] = level, now
                if level > limits.requests_per_minute + _ALMOST * limits.requests_per_minute:
                    detail = f"{level:.3f} of {limits.requests_per_minute} were taken"
                    self._tell("requests per minute are kept", str(subject), detail)

    def _look_at_budgets(self) -> None:
        reserved: defaultdict[tuple[str, Subject], int] = defaultdict(int)
        running: defaultdict[Subject, int] = defaultdict(int)
        for claim in self._open.values():
            for subject in claim.subjects:
                running[subject] += 1
                for period in _periods(claim):
                    reserved[period, subject] += claim.cost_micro
        for subject, count in running.items():
            most = self._limits(subject).concurrent_requests
            if most is not None and count > most:
                self._tell("concurrent requests are kept", str(subject), f"{count} of {most} run")
        for (period, subject), open_micro in reserved.items():
            limits = self._limits(subject)
            budget = limits.budget_per_day if period.count("-") == 2 else limits.budget_per_month
            micro = self._spent[period, subject] + open_micro
            if budget is not None and micro > budget:
                self._tell("no budget is exceeded", f"{subject} {period}", f"{micro} of {budget} are gone")

    def _closed(self, request: Request) -> None:
        seen, grant = self._open.pop(request, None), request.grant
        if grant is None:
            return
        claim = grant.claim
        counted = seen.subjects if seen is not None else ()
        self._count(request, [subject for subject in claim.subjects if subject not in counted])
        tokens = request.prompt_tokens + request.completion_tokens if request.finished_well else 0
        for subject in (*counted, *claim.subjects):
            began = self._times.pop((request, subject), None)
            if began is None or subject not in claim.subjects:
                continue
            self._begun[subject].append((began, tokens))
            for period in _periods(claim):
                self._spent[period, subject] += request.settled_micro

    def _limits(self, subject: Subject) -> Limits:
        found = self._effective.get(subject)
        if found is None:
            found = self._effective[subject] = effective(self._world.gateway.limits, subject)
        return found


def _periods(claim: Claim) -> tuple[str, str]:
    """The day and the month of a request."""
    day = datetime.fromtimestamp(claim.at, UTC).date().isoformat()
    return day, day[:7]
