"""What the nodes of a Ray cluster are told to start: the processes of an engine, or of a job."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from freehold.cluster.base import JobOrder, Part, Placement
from freehold.cluster.member import which_of
from freehold.cluster.ray_wire import wire_of_needs
from freehold.types.cluster import Node


def wire_of_files(files: Mapping[Path, str]) -> dict[str, str]:
    """What nodes must have, by its path here: its digest."""
    return {str(path): digest for path, digest in files.items()}


def parts_of(placement: Placement, nodes: Sequence[Node], address: Callable[[str], str]) -> list[dict[str, Any]]:
    """What each node is told of an engine's process; `address` says where a node is, by its id."""
    first = Part(placement.argv, placement.env, placement.needs)
    return [
        {
            "node": node.id,
            "needs": wire_of_needs(part.needs),
            "argv": part.argv,
            "env": dict(part.env),
            "host": address(node.id),
        }
        for node, part in zip(nodes, (first, *placement.others), strict=True)
    ]


def orders_of(job: JobOrder, nodes: Sequence[Node], address: Callable[[str], str]) -> list[dict[str, Any]]:
    """What each node is told of a job's process; `address` as above."""
    master = address(nodes[0].id)
    ids = [node.id for node in nodes]
    found = []
    for rank, (node, needs) in enumerate(zip(nodes, job.members, strict=True)):
        local = (ids[:rank].count(node.id), ids.count(node.id))
        env = {**job.env, **which_of(rank, len(nodes), master, 0, local=local)}
        argv = [job.python, "-P", "-m", job.module, *job.arguments]
        order = {"argv": argv, "env": env, "folder": str(job.folder), "heard": rank == 0}
        found.append({"node": node.id, "needs": wire_of_needs(needs), "order": order})
    return found


def wire_of_job(job: JobOrder, nodes: Sequence[Node], address: Callable[[str], str]) -> dict[str, Any]:
    """A job's order; `address` as above."""
    master, files = address(nodes[0].id), wire_of_files(job.files)
    return {"master": master, "files": files, "members": orders_of(job, nodes, address)}
