"""What a simulation came to, as JSON values."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from freehold.simulation.tally import Outcome, jain
from freehold.simulation.world import HOUR_S, World
from freehold.types.cluster import WorkClass
from freehold.types.money import decimal_from_micro

PERCENTILES: Final = (50, 95, 99)
CLASSES: Final = {rank: rank.name.lower() for rank in WorkClass}
"""What each class is called in reports."""


def report_of(world: World) -> dict[str, Any]:
    """Everything there is to say of a simulation that has run. Shares are from 0 to 1."""
    tally, meter, scenario = world.tally, world.floor.meter, world.scenario
    served = meter.served()
    hours = world.agenda.now / HOUR_S
    return {
        "object": "simulation",
        "scenario": scenario.name,
        "seed": world.seed,
        "hours": hours,
        "events": tally.events,
        "cluster": {
            "nodes": sum(group.count for group in scenario.node),
            "unit": "devices" if meter.devices else "cores",
            "units": sum(group.count * (group.devices if meter.devices else group.cores) for group in scenario.node),
            "node_failures": tally.node_failures,
            "outages": tally.outages,
        },
        "utilization": _utilization(world),
        "requests": {CLASSES[rank]: _requests(world, rank) for rank in (WorkClass.API, WorkClass.PRODUCT)},
        "refusals": dict(sorted(tally.reasons.items())),
        "jobs": _jobs(world),
        "fairness": {"jain": round(jain(served.values()), 4), "served": _rounded(served)},
        "money": {name: decimal_from_micro(micro) for name, micro in sorted(tally.money_micro.items())},
        "deployments": {name: _deployment(world, name, hours) for name in world.deployments},
        "never_placed": dict(world.refused),
        "series": [_sample(sample) for sample in tally.samples],
    }


def _utilization(world: World) -> dict[str, float]:
    """Of what the nodes that were there had, by class; what nobody used is `idle`."""
    meter = world.floor.meter
    if not meter.total_s:
        return {}
    shares = {CLASSES[rank]: used / meter.total_s for rank, used in meter.used_s.items()}
    return _rounded({**shares, "idle": 1 - sum(shares.values())})


def _requests(world: World, rank: WorkClass) -> dict[str, Any]:
    tally = world.tally
    outcomes = tally.outcomes[rank]
    return {
        "arrived": tally.arrived[rank],
        **{outcome.value: outcomes[outcome] for outcome in Outcome},
        "running": tally.arrived[rank] - sum(outcomes.values()),
        "wait_s": percentiles(tally.waits[rank]),
        "first_token_s": percentiles(tally.firsts[rank]),
    }


def _jobs(world: World) -> dict[str, Any]:
    counts, floor = world.tally.jobs, world.floor
    running = sum(job in floor.holding for job in floor.tenants if job not in world.seats)
    return {
        "submitted": counts.submitted,
        "finished": counts.finished,
        "running": running,
        "waiting": counts.submitted - counts.finished - counts.refused - running,
        "never_placed": counts.refused,
        "preempted": counts.preempted,
        "checkpoint_too_slow": counts.too_slow,
        "node_lost": counts.broken,
        "worked_unit_h": round(counts.worked_h, 3),
        "lost_unit_h": round(counts.lost_h, 3),
        "overhead_unit_h": round(counts.overhead_h, 3),
        "wait_s": percentiles(world.tally.waits[WorkClass.RESEARCH]),
    }


def _deployment(world: World, name: str, hours: float) -> dict[str, Any]:
    deployment = world.deployments[name]
    counted = [sample.replicas[name] for sample in world.tally.samples]
    return {
        "class": CLASSES[deployment.rank],
        "completion_tokens_s": round(deployment.tokens / (hours * HOUR_S), 3),
        "requests": deployment.lending.lent,
        "scalings": deployment.scalings,
        "replicas": {"mean": round(fmean(counted), 3), "most": max(counted)},
    }


def _sample(sample: Any) -> dict[str, Any]:
    used = {CLASSES[rank]: amount for rank, amount in zip(WorkClass, sample.used, strict=True)}
    return {
        "at_s": round(sample.at_s, 3),
        "total": sample.total,
        **used,
        "requests_running": sample.running,
        "requests_waiting": sample.waiting,
        "replicas": dict(sample.replicas),
        "jobs_waiting": sample.jobs_waiting,
    }


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """The nearest-rank percentiles; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    return {f"p{each}": round(ordered[min(last, math.ceil(each / 100 * len(ordered)) - 1)], 4) for each in PERCENTILES}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
