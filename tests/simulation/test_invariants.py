"""What must hold at every moment holds, and whoever looks would see if it did not."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import Decision, Place, Wait, Waiting
from freehold.config import parse_settings
from freehold.gateway.ledger import Ledger
from freehold.governance.limits import UNLIMITED
from freehold.serving.choice import Wish
from freehold.serving.lending import Lending
from freehold.serving.prompt_cache import PromptCache
from freehold.simulation import invariants
from freehold.simulation.engine import Replica
from freehold.simulation.gateway import Gateway, Request
from freehold.simulation.invariants import Checker
from freehold.simulation.scenario import Scenario
from freehold.types.cluster import Node, NodeState, Workload
from tests.simulation.worlds import OVERDUE_S, checked, small_world

SEEDS = 60


@pytest.mark.slow
@pytest.mark.parametrize("tens", range(SEEDS // 10))
def test_small_worlds_hold_the_invariants(tens: int) -> None:
    """In small worlds by chance every invariant holds after every event."""
    for seed in range(tens * 10, tens * 10 + 10):
        checker = checked(small_world(seed))
        tally = checker.run()
        assert checker.violations == [], seed
        assert checker.looked > tally.events > 0


@pytest.mark.long
@pytest.mark.parametrize("hundreds", range(10))
def test_a_thousand_worlds_hold_the_invariants(hundreds: int) -> None:
    """The same with a thousand seeds."""
    violations = {}
    for seed in range(1000 + hundreds * 100, 1100 + hundreds * 100):
        checker = checked(small_world(seed))
        checker.run()
        if checker.violations:
            violations[seed] = checker.violations
    assert violations == {}


@pytest.mark.slow
def test_small_worlds_have_everything_in_them() -> None:
    """The worlds by chance are hard enough: some of everything that can go wrong does, in a few dozen of them."""
    seen: set[str] = set()
    for seed in range(40):
        tally = checked(small_world(seed)).run()
        seen |= {outcome.value for outcomes in tally.outcomes.values() for outcome in outcomes}
        jobs = tally.jobs
        seen |= {name for name in ("preempted", "too_slow", "broken", "finished", "refused") if getattr(jobs, name)}
        seen |= {"node failures"} if tally.node_failures else set()
        seen |= {"outages"} if tally.outages else set()
    assert {"rate_limited", "over_budget", "overloaded", "unavailable", "gave_up", "broken", "finished"} <= seen
    assert {"preempted", "too_slow", "refused", "node failures", "outages"} <= seen


CROWDED: dict[str, Any] = {
    "name": "crowded",
    "hours": 0.5,
    "node": [
        {"name": "a", "count": 2, "cores": 8, "memory_gib": 16, "devices": 2, "device_kind": "new", "zone": "north"},
        {"name": "b", "count": 2, "cores": 8, "memory_gib": 16, "devices": 2, "device_kind": "old", "zone": "south",
         "mtbf_hours": 0.1, "repair_hours": 0.05},
    ],
    "deployment": [
        {
            "name": "chat",
            "model": {"prefill_tokens_s": 900, "decode_tokens_s": 40, "decode_tokens_s_full": 60, "parallel": 2},
            "needs": {"cores": 2, "devices": 2, "device_kind": "old"},
            "queue": 20,
            "price": {"input": "1.00", "output": "4.00"},
        }
    ],
    "caller": [
        {
            "name": "people", "organization": "left", "project": "people", "deployment": "chat",
            "arrivals": {"per_hour": 3000},
            "prompt_tokens": {"median": 200, "p95": 1000, "most": 2000},
            "completion_tokens": {"median": 100, "p95": 400, "most": 800},
        }
    ],
    "job": [
        {
            "name": name, "organization": name, "project": name, "at_start": 6, "arrivals": {"per_hour": 30},
            "members": members, "needs": {"cores": 2, "devices": devices, "device_kind": kind},
            "hours": {"median": 0.05, "p95": 0.06, "most": 0.06}, "checkpoint_s": 20, "checkpoint_takes_s": 5,
            **({"zones": ["north"]} if name == "third" else {}),
        }
        for name, members, devices, kind in (("right", 1, 2, "old"), ("third", 2, 1, None))
    ],
    "limit": [
        {"scope": "organization", "id": "left", "budget_per_day": "0.2", "tokens_per_minute": 20000},
        {"scope": "project", "id": "*", "requests_per_minute": 20, "concurrent_requests": 3},
    ],
}  # fmt: skip


def crowded() -> Scenario:
    """A world in which everything is scarce."""
    return parse_settings(CROWDED, Scenario)


def unpriced() -> Scenario:
    """The same without a budget, so that other limits are reached."""
    limits = [
        CROWDED["limit"][0] | {"budget_per_day": "1000", "tokens_per_minute": 3000},
        {"scope": "project", "id": "*", "requests_per_minute": 60},
    ]
    return parse_settings({**CROWDED, "limit": limits}, Scenario)


@pytest.mark.slow
def test_a_crowded_world_holds_the_invariants() -> None:
    """The world that is broken in the following tests holds every invariant as long as it is whole."""
    for scenario in (crowded(), unpriced()):
        checker = checked(scenario)
        checker.run()
        assert checker.violations == []


class Altered(Arbiter):
    """An arbiter that is told something else than what is true."""

    def __init__(self, change: Callable[[Workload], Workload]) -> None:
        super().__init__(overdue_s=OVERDUE_S)
        self._change = change

    def submit(self, workload: Workload, now_s: float) -> list[Decision]:
        return super().submit(self._change(workload), now_s)


class Blind(Arbiter):
    """An arbiter that takes every node for empty, and the first one for the best."""

    def submit(self, workload: Workload, now_s: float) -> list[Decision]:
        return [Place(workload.id, (next(iter(self.pools.hosts)),) * len(workload.members), now_s)]

    def release(self, workload_id: str, now_s: float) -> list[Decision]:  # noqa: ARG002  # nothing becomes free
        return []

    def yielded(self, workload_id: str, now_s: float) -> list[Decision]:  # noqa: ARG002
        return []


class Careless(Arbiter):
    """An arbiter that loses a member of each gang."""

    def submit(self, workload: Workload, now_s: float) -> list[Decision]:
        decisions = super().submit(workload, now_s)
        return [replace(each, nodes=each.nodes[:1]) if isinstance(each, Place) else each for each in decisions]


class Deaf(Arbiter):
    """An arbiter that does not hear that nodes are lost."""

    def set_node(self, node: Node, now_s: float) -> list[Decision]:
        return super().set_node(replace(node, state=NodeState.READY), now_s)


class Partial(Arbiter):
    """An arbiter that never gets round to one organization."""

    def submit(self, workload: Workload, now_s: float) -> list[Decision]:
        if workload.organization_id == "third":
            return [Wait(workload.id, Waiting.NO_ROOM, now_s)]
        return super().submit(workload, now_s)


class Forgetful(Gateway):
    """A gateway that forgets some requests."""

    def finished(self, request: Request) -> None:
        super().finished(request)
        if request.prompt_tokens % 10 == 0:
            assert request.outcome is not None
            self.tally.outcomes[request.asker.rank][request.outcome] -= 1


class Keeping(Gateway):
    """A gateway that keeps some replicas longer than it works on them."""

    def finished(self, request: Request) -> None:
        if request.prompt_tokens % 10 == 0:
            assert request.replica is not None
            request.replica.lend()
        super().finished(request)


class Greedy(Lending[Replica, None]):
    """A lending that gives everybody the first replica."""

    def at_once(self, wish: Wish) -> tuple[Replica, None] | None:  # noqa: ARG002  # nobody's wish counts
        replica = next((each for each in self._outlook.serving() if each.usable), None)
        if replica is None:
            return None
        replica.lend()
        return replica, None


class Twofold(Gateway):
    """A gateway that has requests wait although they have a replica."""

    def _begin(self, request: Request, replica: Replica) -> None:
        super()._begin(request, replica)
        request.waiter = object()  # type: ignore[assignment]  # a place that nobody gave


def lenient(scenario: Scenario) -> Checker:
    """A world whose ledger knows no limit."""
    checker = checked(scenario)
    gateway = checker._world.gateway
    gateway.ledger = Ledger(lambda _subject: UNLIMITED, checker._world.agenda.wall)
    return checker


def greedy(scenario: Scenario) -> Checker:
    """A world whose replicas are given to everybody."""
    checker = checked(scenario)
    world = checker._world
    for deployment in world.deployments.values():
        deployment.lending = Greedy(deployment.name, deployment, PromptCache("off"), world.agenda.clock)
    return checker


@dataclass(frozen=True)
class Fault:
    """One thing that is broken, and the invariant that does not hold then."""

    invariant: str
    broken: Callable[[], Checker]


def _altered(**changes: Any) -> Callable[[], Checker]:
    return lambda: checked(crowded(), Altered(lambda workload: replace(workload, **changes)))


def _any_kind(workload: Workload) -> Workload:
    return replace(workload, members=tuple(replace(member, device_kind=None) for member in workload.members))


FAULTS = (
    Fault("no budget is exceeded", lambda: lenient(crowded())),
    Fault("requests per minute are kept", lambda: lenient(crowded())),
    Fault("concurrent requests are kept", lambda: lenient(crowded())),
    Fault("tokens per minute are kept", lambda: lenient(unpriced())),
    Fault("requests are conserved", lambda: checked(unpriced(), gateway=Forgetful)),
    Fault("replicas are given back", lambda: checked(unpriced(), gateway=Keeping)),
    Fault("a request is in one place", lambda: checked(unpriced(), gateway=Twofold)),
    Fault("replicas are not overloaded", lambda: greedy(unpriced())),
    Fault("no node is over-committed", lambda: checked(crowded(), Blind())),
    Fault("gangs are whole", lambda: checked(crowded(), Careless(overdue_s=OVERDUE_S))),
    Fault("nothing is outside its zones", _altered(zones=None)),
    Fault("devices are of their kind", lambda: checked(crowded(), Altered(_any_kind))),
    Fault("nothing is placed where nothing may be", lambda: checked(crowded(), Deaf(overdue_s=OVERDUE_S))),
    Fault("no priority inversion", _altered(checkpoint_s=None)),
    Fault("nobody starves", lambda: checked(crowded(), Partial(overdue_s=OVERDUE_S))),
)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.invariant.replace(" ", "-"))
def test_what_is_broken_is_seen(fault: Fault) -> None:
    """With that part broken, the check of that invariant fails."""
    checker = fault.broken()
    checker.run()
    assert fault.invariant in {violation.invariant for violation in checker.violations}


def test_every_invariant_has_its_fault() -> None:
    """No invariant is looked at that no broken world has been seen to violate."""
    folder = Path(invariants.__file__).parent
    told = {
        found
        for file in folder.glob("invariants*.py")
        for found in re.findall(r'_tell\(\s*"([^"]+)"', file.read_text(encoding="utf-8"))
    }
    assert told == {fault.invariant for fault in FAULTS}
