"""Over how many nodes an engine of vLLM is spread: over none if it fits on one, else evenly over as few as will do.

As vLLM recommends (https://docs.vllm.ai/en/stable/serving/parallelism_scaling/), the GPUs that share a layer are of one
node where that can be: so many nodes are looked for first over which whole stages of the pipeline can be spread.
"""

from collections.abc import Sequence
from dataclasses import replace

from freehold.engines.base import EngineSpec
from freehold.engines.vllm_arguments import members
from freehold.types.cluster import MASTER_ADDRESS, MASTER_PORT, Node, NodeState


def spread(spec: EngineSpec, nodes: Sequence[Node]) -> EngineSpec:
    """The specification with the number of nodes, and their kind of device where there are several.

    It is one, with the reason, where no even spreading fits on these nodes, were they empty.

    Args:
        spec: checked before.
        nodes: those that there are; where none of them has anything, nothing is counted, and it is one.
    """
    settings = spec.settings
    world, said = members(settings.options), settings.resources
    if said.devices:
        return replace(spec, members=max(1, world // said.devices))
    open_to = [node for node in nodes if settings.zone in {None, node.zone}]
    if "devices" in settings.options or all(node.total.devices == node.total.cores == 0 for node in open_to):
        return spec
    ready = [node for node in open_to if node.state is NodeState.READY]
    there = [node for node in open_to if node.state is not NodeState.LOST]
    for some in (ready, there):
        for count in _counts(world, settings.options.get("tensor_parallel", 1)):
            for kind in sorted({node.total.device_kind or "" for node in some}):
                if said.device_kind in {None, kind} and _fits(some, kind, count, world // count):
                    return _over(spec, count, kind, some)
    return replace(spec, misfit=_why(world, there, settings.zone, said.device_kind))


def _counts(world: int, stage: int) -> list[int]:
    """The numbers of nodes that are possible, the best first: whole stages on a node, then whole parts of a stage."""

    def cut(count: int) -> int:
        each = world // count
        return 0 if each % stage == 0 else 1 if stage % each == 0 else 2

    return sorted((count for count in range(1, world + 1) if world % count == 0), key=lambda count: (cut(count), count))


def _fits(nodes: Sequence[Node], kind: str, count: int, each: int) -> bool:
    """Whether there are so many nodes of a kind with so many devices each."""
    return sum(node.total.devices >= each and (node.total.device_kind or "") == kind for node in nodes) >= count


def _over(spec: EngineSpec, count: int, kind: str, nodes: Sequence[Node]) -> EngineSpec:
    """Over so many nodes; all of one kind, for the slowest would hold up the others."""
    settings = spec.settings
    if count > 1 and kind and len({node.total.device_kind for node in nodes if node.total.devices}) > 1:
        resources = settings.resources.model_copy(update={"device_kind": kind})
        settings = settings.model_copy(update={"resources": resources})
    return replace(spec, settings=settings, members=count)


def _why(world: int, nodes: Sequence[Node], zone: str | None, kind: str | None) -> str:
    kinds = f" of the kind '{kind}'" if kind else ""
    where = f" in the zone '{zone}'" if zone else ""
    there = [node.total.devices for node in nodes if node.total.devices and kind in {None, node.total.device_kind}]
    have = ", ".join(map(str, sorted(there, reverse=True)[:8])) + (", …" if len(there) > 8 else "")
    return (
        f"The engine needs {world} devices{kinds} (tensor_parallel x pipeline_parallel), the same number on each "
        f"of its nodes; the nodes{where} have: {have or 'none'}."
    )


def rank_arguments(count: int, rank: int) -> list[str]:
    """The arguments of vLLM that tell a process which of several nodes' it is; only the first serves HTTP.

    Source: https://docs.vllm.ai/en/stable/serving/parallelism_scaling/, "Running vLLM with MultiProcessing".
    """
    found = ["--distributed-executor-backend", "mp", "--nnodes", str(count), "--node-rank", str(rank)]
    found += ["--master-addr", MASTER_ADDRESS, "--master-port", MASTER_PORT]
    return found if rank == 0 else [*found, "--headless"]
