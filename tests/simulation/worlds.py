"""Small worlds by chance: every kind of machine, caller, limit, job and failure that a scenario can have."""

from random import Random
from typing import Any

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.config import parse_settings
from freehold.simulation.gateway import Gateway
from freehold.simulation.invariants import Checker
from freehold.simulation.scenario import Scenario
from freehold.simulation.world import World

ZONES = ("north", "south", "west")


OVERDUE_S = 120.0
"""After how long a job that waits goes before others here."""
LONGEST_S = OVERDUE_S + 4 * (0.06 * 3600 + 10)
"""How long a job may wait here while its organization has less than it is due."""


def checked(scenario: Scenario, arbiter: Arbiter | None = None, gateway: type[Gateway] = Gateway) -> Checker:
    """What looks at a world of the scenario after every event."""
    world = World(scenario, arbiter=arbiter or Arbiter(scenario.share, overdue_s=OVERDUE_S), gateway=gateway)
    return Checker(world, LONGEST_S)


def small_world(seed: int) -> Scenario:
    """A scenario of half an hour with a few nodes; the same for the same seed."""
    chance = Random(seed)
    zones = ZONES[: chance.randint(1, 3)]
    devices = chance.choice((0, 2, 4, 8))
    nodes = [
        {
            "name": f"rack-{zone}",
            "count": chance.randint(1, 4),
            "cores": 16,
            "memory_gib": 64,
            "devices": devices,
            "zone": zone,
            **({"mtbf_hours": chance.uniform(0.3, 3), "repair_hours": 0.1} if chance.random() < 0.5 else {}),
        }
        for zone in zones
    ]
    names = [f"model-{number}" for number in range(chance.randint(1, 3))]
    raw: dict[str, Any] = {
        "name": f"small-{seed}",
        "seed": seed,
        "hours": 0.5,
        "node": nodes,
        "deployment": [_deployment(chance, name, names, zones, devices) for name in names],
        "caller": [_caller(chance, number, chance.choice(names)) for number in range(chance.randint(1, 4))],
        "job": [_job(chance, number, zones, devices) for number in range(chance.randint(0, 3))],
        "share": _shares(chance, zones),
        "limit": _limits(chance, names),
    }
    if chance.random() < 0.3:
        raw["outage"] = [{"zone": chance.choice(zones), "at_hour": 0.2, "lasts_hours": 0.1}]
    return parse_settings(raw, Scenario)


def _deployment(chance: Random, name: str, names: list[str], zones: tuple[str, ...], devices: int) -> dict[str, Any]:
    least, most = sorted((chance.randint(0, 3), chance.randint(1, 4)))
    parallel = chance.choice((1, 2, 4, 16))
    decode = chance.uniform(20, 100)
    found: dict[str, Any] = {
        "name": name,
        "work_class": chance.choice(("api", "product")),
        "model": {
            "prefill_tokens_s": chance.uniform(200, 5000),
            "decode_tokens_s": decode,
            "decode_tokens_s_full": decode * chance.uniform(1, parallel),
            "parallel": parallel,
            "load_s": chance.choice((0, 5, 60)),
        },
        "needs": {"cores": chance.choice((1, 4, 12)), "memory_gib": 4, "devices": _some(chance, devices)},
        "replicas": least,
        "queue": chance.choice((0, 3, 50)),
        "price": {"input": "1.00", "output": "4.00"},
    }
    if chance.random() < 0.7:
        found["autoscale"] = {"min": least, "max": max(1, most), "down_after_s": 120}
    if chance.random() < 0.5:
        found["fallbacks"] = [other for other in names if other != name][:1]
    if chance.random() < 0.3:
        found["zones"] = [chance.choice(zones)]
    return found


def _caller(chance: Random, number: int, deployment: str) -> dict[str, Any]:
    arrivals: dict[str, Any] = {"kind": chance.choice(("poisson", "diurnal", "bursts")), "per_hour": 200}
    arrivals |= {"burst_every_s": 300, "burst_lasts_s": 30, "burst": 20, "peak_hour": chance.randint(0, 23)}
    found: dict[str, Any] = {
        "name": f"caller-{number}",
        "count": chance.randint(1, 2),
        "organization": chance.choice(("left", "right")),
        "project": f"project-{number}",
        "deployment": deployment,
        "tier": chance.choice(("priority", "default", "flex")),
        "arrivals": arrivals,
        "prompt_tokens": {"median": 200, "p95": 1000, "most": 2000},
        "completion_tokens": {"median": 100, "p95": 400, "most": 800},
    }
    if chance.random() < 0.3:
        found["gives_up_s"] = chance.choice((1, 20))
    return found


def _job(chance: Random, number: int, zones: tuple[str, ...], devices: int) -> dict[str, Any]:
    checkpoint_s = chance.choice((10, 60))
    found: dict[str, Any] = {
        "name": f"job-{number}",
        "organization": chance.choice(("left", "right", "third")),
        "project": f"research-{number}",
        "at_start": chance.randint(0, 4),
        "arrivals": {"per_hour": chance.choice((5, 40))},
        "members": chance.choice((1, 1, 2, 4)),
        "needs": {"cores": chance.choice((1, 8, 16)), "memory_gib": 8, "devices": _some(chance, devices)},
        "hours": {"median": 0.02, "p95": 0.05, "most": 0.06},
        "checkpoint_every_s": 20,
        "checkpoint_takes_s": chance.choice((1, 9, 90)),
        "checkpoint_s": checkpoint_s,
        "restart_s": chance.choice((0, 10)),
    }
    if chance.random() < 0.3:
        found["zones"] = [chance.choice(zones)]
    return found


def _shares(chance: Random, zones: tuple[str, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for organization in ("left", "right", "third"):
        if chance.random() < 0.5:
            share: dict[str, Any] = {"organization": organization, "weight": chance.choice((0.5, 1, 3))}
            if chance.random() < 0.2:
                share["zones"] = [chance.choice(zones)]
            found.append(share)
    return found


def _limits(chance: Random, names: list[str]) -> list[dict[str, Any]]:
    possible: list[dict[str, Any]] = [
        {"scope": "project", "id": "*", "requests_per_minute": chance.choice((2, 10))},
        {"scope": "organization", "id": "left", "budget_per_day": chance.choice(("0.05", "0.5"))},
        {"scope": "organization", "id": "*", "concurrent_requests": chance.choice((1, 5))},
        {"scope": "deployment", "id": chance.choice(names), "tokens_per_minute": chance.choice((5000, 20000))},
        {"scope": "deployment", "id": "*", "requests_per_minute": 20, "budget_per_month": "2"},
        {"scope": "project", "id": "project-0", "tokens_per_minute": 6000, "budget_per_month": "0.3"},
    ]
    found = [limit for limit in possible if chance.random() < 0.4]
    return list({(limit["scope"], limit["id"]): limit for limit in found}.values())


def _some(chance: Random, devices: int) -> int:
    return chance.choice((0, 1, 2, devices)) if devices else 0
