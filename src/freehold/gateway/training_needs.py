"""What a training needs while it runs: how many processes, on what, and what that is on a cluster."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from freehold.engines.cores import logical_cores
from freehold.types.cluster import Node, NodeState, Resources
from freehold.types.training import MILLI, Room, TrainingRequest


@dataclass(frozen=True, slots=True)
class Needs:
    """What was asked for; see `TrainingRequest`. `threads` is 0 until it is known what there is."""

    processes: int
    device: Literal["auto", "cpu", "cuda"]
    device_kind: str
    threads: int
    memory_bytes: int
    zones: tuple[str, ...]
    checkpoint_s: float

    @classmethod
    def of(cls, request: TrainingRequest, checkpoint_s: float) -> Self:
        """What a request asks for; `checkpoint_s` where it does not say."""
        return cls(
            request.processes,
            "cuda" if request.device_kind is not None else request.device,
            request.device_kind or "",
            request.threads or 0,
            request.memory_bytes,
            tuple(sorted(set(request.zones or ()))),
            request.checkpoint_s or checkpoint_s,
        )

    @classmethod
    def from_wire(cls, wire: Any) -> Self:
        """What `wire` wrote."""
        return cls(**{**wire, "zones": tuple(wire["zones"])})

    def wire(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "zones": list(self.zones)}

    def settled(self, nodes: Sequence[Node]) -> Self:
        """The same with what was left open decided, once for all: more threads would add numbers up in other orders.

        Accelerators are taken where there are some; each process has its share of a node's cores. On a machine whose
        cores nobody has counted it is left to the process whether it computes on an accelerator.
        """
        there = [node.total for node in nodes if node.state is NodeState.READY]
        device = self.device
        if device == "auto" and any(total.cores for total in there):
            device = "cuda" if any(total.devices for total in there) else "cpu"
        return replace(self, device=device, threads=self.threads or self._share(there, device))

    def members(self) -> tuple[Resources, ...]:
        """What each process needs; after `settled`."""
        devices = 1 if self.device == "cuda" else 0
        one = Resources(float(self.threads), self.memory_bytes, devices, self.device_kind or None)
        return (one,) * self.processes

    def room(self) -> Room:
        """What all of them have together; after `settled`."""
        devices = self.processes if self.device == "cuda" else 0
        core_milli = self.threads * self.processes * MILLI
        return Room(self.processes, devices, self.device_kind, core_milli, self.memory_bytes * self.processes)

    def _share(self, there: Sequence[Resources], device: str) -> int:
        """The threads of a process that does not say how many it wants."""
        if device == "cuda" and any(total.devices for total in there):
            return max(1, min(int(total.cores / total.devices) for total in there if total.devices))
        most = max((int(total.cores) for total in there), default=0) or logical_cores()
        return max(1, most // self.processes)
