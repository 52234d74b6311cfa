"""What a world does as a whole: shares, failures, fallbacks, tiers and budgets."""

from typing import Any

import pytest

from freehold.cluster.arbiter.decisions import Place
from freehold.config import parse_settings
from freehold.simulation.scenario import Scenario
from freehold.simulation.tally import Outcome
from freehold.simulation.trial import simulate
from freehold.simulation.world import World
from freehold.types.cluster import WorkClass

FIXED = {"median": 100, "p95": 100, "most": 100}
MODEL = {"prefill_tokens_s": 1000, "decode_tokens_s": 50, "decode_tokens_s_full": 50, "parallel": 1, "load_s": 10}


def _scenario(**parts: Any) -> Scenario:
    node = {"name": "node", "count": 3, "cores": 4, "memory_gib": 16, "devices": 1}
    return parse_settings({"name": "small", "hours": 1, "node": [node], **parts}, Scenario)


def _deployment(name: str = "chat", **keys: Any) -> dict[str, Any]:
    return {"name": name, "model": MODEL, "needs": {"devices": 1}, **keys}


def _caller(per_hour: float, name: str = "people", deployment: str = "chat", **keys: Any) -> dict[str, Any]:
    return {
        "name": name, "organization": name, "project": name, "deployment": deployment,
        "arrivals": {"per_hour": per_hour}, "prompt_tokens": FIXED, "completion_tokens": FIXED, **keys,
    }  # fmt: skip


def _job(name: str, hours: float, **keys: Any) -> dict[str, Any]:
    spread = {"median": hours, "p95": hours, "most": hours}
    found = {"name": name, "organization": name, "project": name, "needs": {"devices": 1}, "hours": spread}
    return {**found, "at_start": 1, "restart_s": 0, **keys}


def test_shares_are_those_of_the_weights() -> None:
    """Of two organizations that always ask, one of weight 2 has twice the device-time of one of weight 1."""
    scenario = _scenario(
        hours=20,
        job=[_job("double", 0.25, at_start=300), _job("single", 0.25, at_start=300)],
        share=[{"organization": "double", "weight": 2}, {"organization": "single", "weight": 1}],
    )
    world = World(scenario)
    world.run()
    meter = world.floor.meter
    assert meter.had_s["double"] / meter.had_s["single"] == pytest.approx(2, rel=0.05)
    assert meter.used_s[WorkClass.RESEARCH] == pytest.approx(meter.total_s, rel=0.001)
    assert min(meter.served().values()) > 0.95


def test_what_nobody_else_wants_is_borrowed() -> None:
    """An organization of little weight has everything while the other asks for nothing."""
    scenario = _scenario(job=[_job("single", 5, at_start=3)], share=[{"organization": "double", "weight": 99}])
    report = simulate(scenario, 1)
    assert report["utilization"]["research"] == pytest.approx(1, abs=0.01)


def test_a_replica_whose_node_fails_has_another_within_the_time_for_a_checkpoint() -> None:
    """Research makes room for a replica that lost its node, loses no work by it, and goes on when there is room."""
    scenario = _scenario(
        node=[{"name": name, "cores": 4, "devices": 1, "zone": name} for name in ("a", "b")],
        deployment=[_deployment()],
        job=[_job("training", 0.4, checkpoint_takes_s=20, checkpoint_s=60)],
        outage=[{"zone": "a", "at_hour": 0.1, "lasts_hours": 0.2}],
    )
    world = World(scenario)
    world.begin()
    (deployment,) = world.deployments.values()
    assert world.agenda.run(359) > 0
    assert deployment.ready == 1
    world.agenda.run(361 + 20)
    assert world.tally.jobs.preempted == 1
    world.agenda.run(361 + 20 + 10)
    assert deployment.ready == 1
    world.agenda.run(3600)
    jobs = world.tally.jobs
    assert (jobs.finished, jobs.lost_h, jobs.too_slow) == (1, 0.0, 0)
    assert jobs.worked_h == pytest.approx(0.4)


def test_a_checkpoint_that_takes_too_long_costs_work() -> None:
    """Devices are taken when the time is over; the work since the last checkpoint is done again."""
    scenario = _scenario(
        node=[{"name": name, "cores": 4, "devices": 1, "zone": name} for name in ("a", "b")],
        deployment=[_deployment()],
        job=[_job("training", 0.4, checkpoint_every_s=100, checkpoint_takes_s=90, checkpoint_s=60)],
        outage=[{"zone": "a", "at_hour": 0.1, "lasts_hours": 0.2}],
    )
    world = World(scenario)
    world.run()
    jobs = world.tally.jobs
    assert (jobs.finished, jobs.too_slow) == (1, 1)
    assert jobs.lost_h * 3600 == pytest.approx(60)


def test_a_failure_breaks_off_what_had_begun_and_nothing_else() -> None:
    """When a node fails, an answer that had begun is broken; one whose prompt was still read is tried elsewhere."""
    slow = {**MODEL, "prefill_tokens_s": 1, "parallel": 2, "decode_tokens_s_full": 100}
    scenario = _scenario(
        node=[{"name": name, "cores": 4, "devices": 1, "zone": name} for name in ("a", "b")],
        deployment=[_deployment(model=slow, replicas=2)],
        caller=[_caller(0)],
        outage=[{"zone": "a", "at_hour": 0.05, "lasts_hours": 0.2}],
    )
    world = World(scenario)
    world.begin()
    asker = world.askers[0]
    world.agenda.run(1)
    begun = [world.gateway.ask(asker, 10, 10_000) for _ in range(2)]
    world.agenda.run(170)
    reading = [world.gateway.ask(asker, 100, 50) for _ in range(2)]
    world.agenda.run(3000)
    replicas = {request.replica for request in begun}
    assert [request.outcome for request in begun].count(Outcome.BROKEN) == 1
    assert [request.outcome for request in begun].count(Outcome.FINISHED) == 1
    assert [request.outcome for request in reading] == [Outcome.FINISHED, Outcome.FINISHED]
    assert replicas == {None}


def test_a_full_queue_spills_to_the_fallback() -> None:
    """What a deployment cannot take is answered by its fallback, and only what that cannot take either is refused."""
    scenario = _scenario(
        deployment=[_deployment(fallbacks=["spare"]), _deployment("spare", queue=0)], caller=[_caller(6000)]
    )
    report = simulate(scenario, 1)
    chat, spare = report["deployments"]["chat"]["requests"], report["deployments"]["spare"]["requests"]
    assert chat > 1000
    assert spare > 1000
    assert report["requests"]["api"]["finished"] >= chat + spare - 2
    assert report["refusals"] == {"deployment: queue is full": report["requests"]["api"]["overloaded"]}


def test_the_urgent_tier_goes_first() -> None:
    """At a deployment that is asked for more than it can do, `flex` is pushed out and `priority` is not."""
    callers = [_caller(1200, name=tier, tier=tier) for tier in ("priority", "flex")]
    world = World(_scenario(deployment=[_deployment(queue=20)], caller=callers))
    world.run()
    assert world.tally.finished["priority"] > 1100
    assert world.tally.finished["flex"] < 600


def test_a_budget_for_so_many_calls_admits_so_many() -> None:
    """With a price by which each request is bound to cost the same, a budget of k of them finishes k at most."""
    prompt, completion = 100 * 4 + 1024 + 32, 100
    budget = f"{25 * (prompt * 1 + completion * 2) / 1e6:.6f}"
    scenario = _scenario(
        deployment=[_deployment(price={"input": "1.00", "output": "2.00"})],
        caller=[_caller(600)],
        limit=[{"scope": "project", "id": "people", "budget_per_day": budget}],
    )
    report = simulate(scenario, 3, check=True)
    spent = float(report["money"]["people"])
    assert report["violations"] == []
    assert report["requests"]["api"]["over_budget"] > 0
    assert spent <= float(budget)
    assert float(budget) - spent < (prompt + 2 * completion) / 1e6


def test_a_caller_who_gives_up_leaves_the_line() -> None:
    """Who waits for longer than he will leaves, and takes nobody's place."""
    scenario = _scenario(deployment=[_deployment()], caller=[_caller(3000, gives_up_s=5)])
    report = simulate(scenario, 1, check=True)
    requests = report["requests"]["api"]
    assert requests["gave_up"] > 500
    assert requests["wait_s"]["p99"] <= 5
    assert report["violations"] == []


def test_a_gang_that_needs_every_node_gets_them_although_small_jobs_keep_coming() -> None:
    """What becomes free is kept for a gang that waits, so that small jobs which come for ever do not keep it out."""
    small = _job("small", 0.2, at_start=10, arrivals={"per_hour": 60})
    world = World(_scenario(hours=1, job=[small, _job("whole", 0.3, members=3)]))
    placed: list[float] = []
    world.floor.on_decision = lambda decision: (
        placed.append(decision.at_s) if isinstance(decision, Place) and decision.workload == "whole-1" else None
    )
    world.run()
    assert placed
    assert placed[0] < 2 * 720 + 120
