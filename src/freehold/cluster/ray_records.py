"""What a host tells of its engine to any gateway of its home, written when it is placed and read when it is found."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from freehold.cluster.base import HostedRecord, Placement
from freehold.cluster.likeness import digest_of
from freehold.types.address import TlsAddress
from freehold.types.cluster import Resources, WorkClass


def new_name(workload: str) -> str:
    """What the host of a replica's engine is called; none before or after it is called so."""
    return f"{workload}.{secrets.token_hex(4)}"


def wire_of_record(placement: Placement, san: str, nodes: Sequence[str]) -> dict[str, Any]:
    """What is told of an engine.

    Args:
        placement: of the engine.
        san: the name in its certificate.
        nodes: the ids of its nodes.
    """
    zones = placement.zones
    members = [
        [node, each.cores, each.memory_bytes, each.devices, each.device_kind]
        for node, each in zip(nodes, placement.members, strict=True)
    ]
    return {
        "workload": placement.workload,
        "deployment": placement.deployment,
        "digest": digest_of(placement),
        "san": san,
        "members": members,
        "zones": None if zones is None else sorted(zones),
        "work_class": placement.work_class.name,
        "project": placement.project,
    }


def record_of(wire: Mapping[str, Any], gateway: str, credentials: Path) -> HostedRecord:
    """The record that a host has told.

    Args:
        wire: as `freehold.cluster.host.EngineHost.record` has it, with the host's `name`.
        gateway: that asks.
        credentials: the folder of what it shows to the engine's relay.
    """
    members = [(node, Resources(*each)) for node, *each in wire["members"]]
    (node, needs), *others = members
    return HostedRecord(
        name=wire["name"],
        workload=wire["workload"],
        deployment=wire["deployment"],
        digest=wire["digest"],
        node=node,
        address=TlsAddress(wire["host"], wire["port"], wire["san"], credentials),
        pid=wire["pid"],
        needs=needs,
        zones=None if wire["zones"] is None else frozenset(wire["zones"]),
        work_class=WorkClass[wire["work_class"]],
        project=wire["project"],
        owner=wire["owner"],
        epoch=wire["epoch"],
        silent_s=wire["silent_s"],
        held=wire["held"] and wire["owner"] != gateway,
        others=tuple(others),
        group=wire["group"],
    )
