"""What calibrations say: units, weights, what more or fewer replicas carry, and when they hold no more."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from freehold.errors import Unavailable
from freehold.serving.calibrations import Calibration, Calibrations, Level, fixed
from freehold.serving.room import THIS_MACHINE, Room, room_for
from freehold.types.capacity import UNIT_MINUTE, UNMEASURED, CapacitySettings, Work
from freehold.types.cluster import Node, NodeState, Resources
from freehold.types.deployment import DeploymentSettings

MACHINE = "a processor, 2 cores"
CHAT = DeploymentSettings(name="chat", model="m", engine="llamacpp")


def _found(settings: DeploymentSettings = CHAT, **more: Any) -> Calibration:
    """A calibration of two replicas that read 1,000 tokens a second together and write 500."""
    values: dict[str, Any] = {
        "deployment": settings.name,
        "task": settings.task,
        "model": settings.model,
        "engine": "llamacpp",
        "version": "1.0",
        "weights_sha256": "ab",
        "machine": MACHINE,
        "fixed": fixed(settings),
        "replicas": 2,
        "prompt_per_s": 1000.0,
        "cached_per_s": 50_000.0,
        "completion_per_s": 500.0,
        "images_per_s": 0.0,
        "levels": (Level("completion", 8, 500.0),),
        "disturbed": False,
        "measured_at": 1,
    }
    return Calibration(**{**values, **more})


def _known(*found: Calibration) -> Calibrations:
    calibrations = Calibrations(machine=MACHINE)
    for each in found:
        asyncio.run(calibrations.keep(each))
    return calibrations


def test_units_and_weights_follow_from_what_was_measured() -> None:
    """Five hundred tokens a second are three hundred units; reading is weighed by its own speed."""
    found = _found()
    assert found.units == 300
    assert found.weights.amount(Work(completion_tokens=100)) == UNIT_MINUTE
    assert found.weights.amount(Work(prompt_tokens=200)) == UNIT_MINUTE
    assert found.weights.amount(Work(prompt_tokens=10_000, cached_tokens=10_000)) == UNIT_MINUTE


def test_replicas_in_full_use_do_what_their_units_say() -> None:
    """Any mixture of reading and writing that fills a second of the replicas fills a second of their units."""
    found = _found()
    for share in (0.0, 0.25, 0.9, 1.0):
        work = Work(round(1000 * share), round(500 * (1 - share)))
        assert found.weights.amount(work) == pytest.approx(found.units * UNIT_MINUTE / 60, rel=0.001)


def test_cached_tokens_weigh_no_more_than_others() -> None:
    """Where the engine tells nothing of its cache, or is slow with it, all tokens of a prompt weigh the same."""
    for found in (_found(cached_per_s=None), _found(cached_per_s=10.0)):
        assert found.weights.cached == found.weights.prompt


@pytest.mark.parametrize(
    ("task", "rates", "units"),
    [
        ("embeddings", {"prompt_per_s": 5000.0, "completion_per_s": 0.0}, 300),
        ("images", {"prompt_per_s": 0.0, "completion_per_s": 0.0, "images_per_s": 0.5}, 300),
    ],
)
def test_each_task_has_its_unit(task: str, rates: dict[str, float], units: int) -> None:
    """A unit is a thousand embedded tokens a minute, or a picture in ten minutes."""
    settings = DeploymentSettings.model_validate({"name": "d", "model": "m", "task": task})
    assert _found(settings, **rates).units == units


@pytest.mark.parametrize(
    ("replicas", "room", "carried"),
    [
        (2, THIS_MACHINE, 300),
        (1, THIS_MACHINE, 150),
        (0, THIS_MACHINE, 0),
        (4, THIS_MACHINE, 300),
        (2, Room(1), 150),
        (4, Room(10, spread=True), 600),
        (4, Room(3, spread=True), 450),
        (1, Room(0, spread=True), 0),
    ],
)
def test_what_more_or_fewer_replicas_carry(replicas: int, room: Room, carried: int) -> None:
    """On one machine more replicas carry no more until that is measured; on a cluster as many as there is room for."""
    assert _found().carried(replicas, room) == carried


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"options": {"threads": 1}}, {"context_length": 512}, {"parallel": 3}]
)
def test_another_engine_or_model_is_not_what_was_measured(change: dict[str, Any]) -> None:
    """After such a change a calibration says no more what is carried, but its weights are the best known."""
    calibrations = _known(_found())
    assert calibrations.available(CHAT, [CHAT], THIS_MACHINE) == (150, 150)
    changed = CHAT.model_copy(update=change)
    assert calibrations.available(changed, [changed], THIS_MACHINE) is None
    assert calibrations.weights(changed) == _found().weights


def test_another_machine_is_not_what_was_measured() -> None:
    """What was measured elsewhere does not hold here."""
    calibrations = _known(_found(machine="another"))
    assert calibrations.holding(CHAT) is None
    assert calibrations.of("chat") is not None


def test_other_deployments_units_take_their_share_of_the_machine() -> None:
    """Two thirds of what one deployment carries leave another one a third of what it carries alone."""
    other = DeploymentSettings(name="other", model="m", engine="llamacpp", capacity=CapacitySettings(units=200))
    settings = CHAT.model_copy(update={"replicas": 2})
    calibrations = _known(_found(), _found(other))
    assert calibrations.available(settings, [settings, other], THIS_MACHINE) == (300, 100)
    assert calibrations.available(settings, [settings, other], Room(2, spread=True)) == (300, 300), (
        "on a cluster nodes are counted"
    )
    elsewhere = _known(_found(), replace(_found(other), engine="remote"))
    assert elsewhere.available(settings, [settings, other], THIS_MACHINE) == (300, 300)


def test_what_is_kept_is_read_again() -> None:
    """A calibration survives a restart; the newest of a deployment counts."""
    kept: list[dict[str, Any]] = []

    async def save(found: dict[str, Any]) -> None:
        kept.append(found)

    async def keep() -> None:
        calibrations = Calibrations(save=save, machine=MACHINE)
        await calibrations.keep(_found(completion_per_s=100.0))
        await calibrations.keep(_found())

    asyncio.run(keep())
    again = Calibrations(kept, machine=MACHINE)
    assert again.of("chat") == again.holding(CHAT) == _found()


def test_what_another_gateway_measured_weighs_here_too() -> None:
    """Work weighs what was measured last, wherever; what is carried says only what was measured on a machine alike."""
    elsewhere = _found(machine="another, 64 cores", completion_per_s=50.0)
    calibrations = _known(elsewhere)
    assert calibrations.weights(CHAT) == elsewhere.weights
    assert (calibrations.of("chat"), calibrations.holding(CHAT)) == (elsewhere, None)
    asyncio.run(calibrations.keep(_found()))
    assert calibrations.weights(CHAT) == _found().weights
    asyncio.run(calibrations.keep(elsewhere))
    assert calibrations.weights(CHAT) == elsewhere.weights
    assert (calibrations.of("chat"), calibrations.holding(CHAT)) == (_found(), _found())
    calibrations.know([])
    assert (calibrations.of("chat"), calibrations.weights(CHAT)) == (None, UNMEASURED["chat"])


def test_what_could_not_be_kept_is_not_known() -> None:
    """Where the database refuses a calibration, work goes on weighing what it does at the other gateways."""

    async def save(_: dict[str, Any]) -> None:
        raise Unavailable("away")

    calibrations = Calibrations(save=save, machine=MACHINE)
    with pytest.raises(Unavailable):
        asyncio.run(calibrations.keep(_found()))
    assert calibrations.weights(CHAT) == UNMEASURED["chat"]


def _node(name: str, free: Resources, zone: str | None = "a", state: NodeState = NodeState.READY) -> Node:
    return Node(name, name, zone, Resources(64, 2**40, 8, "H100"), free, state)


def test_room_is_what_nodes_have_left() -> None:
    """Others than those that run go where all that they need is free, in their zone, on nodes that take them."""
    needs = Resources(cores=4, memory_bytes=100, devices=2, device_kind="H100")
    nodes = [
        _node("devices", Resources(64, 1000, 5, "H100")),
        _node("cores", Resources(9, 1000, 8, "H100")),
        _node("memory", Resources(64, 99, 8, "H100")),
        _node("kind", Resources(64, 1000, 8, "A100")),
        _node("zone", Resources(64, 1000, 8, "H100"), "b"),
        _node("draining", Resources(64, 1000, 8, "H100"), state=NodeState.DRAINING),
        _node("lost", Resources(64, 1000, 8, "H100"), state=NodeState.LOST),
    ]
    assert room_for(nodes, needs, "a", 3, spread=True) == Room(3 + 2 + 2, spread=True)
    assert room_for(nodes, needs, None, 0, spread=True) == Room(2 + 2 + 4, spread=True)


def test_where_nothing_is_counted_there_is_room() -> None:
    """Of a machine of which nobody has said what it has, nothing is known."""
    node = Node("local", "local", None, Resources(), Resources())
    assert room_for([node], Resources(cores=1), None, 1, spread=False) == THIS_MACHINE
    counted = Node("local", "local", None, Resources(cores=4), Resources(cores=1))
    assert room_for([counted], Resources(cores=1), None, 3, spread=False) == Room(4)
    assert room_for([node], Resources(devices=1), None, 1, spread=False).spread, "each has an accelerator of its own"
