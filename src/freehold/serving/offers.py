"""What gateways that share replicas tell each other, as values and as JSON: what there is, and what each has to do."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import TypeAdapter

from freehold.engines.base import EngineSpec
from freehold.types.address import Address, TlsAddress
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Traits

log = structlog.get_logger(__name__)

_TRAITS: Final = TypeAdapter(Traits)


@dataclass(frozen=True, slots=True)
class Offer:
    """A replica that all gateways may use, as the one that leads has published it.

    Args:
        id: the replica's.
        deployment: which it serves.
        engine: the engine's name.
        nodes: the ids of its nodes, the one that is spoken to first.
        pid: of its process, on its node.
        address: where it listens.
        settings: with which it was started.
        weights_sha256: as in `EngineSpec`.
        adapted: whether it was started with an adapter.
        traits: what it turned out to be; None until it was ready.
        draining: whether it takes no more requests.
        made_for: a digest of the deployment's settings that it was started for.
    """

    id: str
    deployment: str
    engine: str
    nodes: tuple[str, ...]
    pid: int
    address: Address
    settings: DeploymentSettings
    weights_sha256: str = ""
    adapted: bool = False
    traits: Traits | None = None
    draining: bool = False
    made_for: str = ""

    @property
    def spec(self) -> EngineSpec:
        """With which a connection is made; the files are not on this machine."""
        adapter = Path() if self.adapted else None
        return EngineSpec(self.settings, weights_sha256=self.weights_sha256, adapter=adapter)

    def wire(self) -> dict[str, Any]:
        """As JSON; of an address without the credentials, which each gateway has of its own."""
        where = self.address
        return {
            "id": self.id,
            "deployment": self.deployment,
            "engine": self.engine,
            "nodes": list(self.nodes),
            "pid": self.pid,
            "address": [where.host, where.port, where.name] if isinstance(where, TlsAddress) else [str(where)],
            "settings": self.settings.wire(),
            "weights_sha256": self.weights_sha256,
            "adapted": self.adapted,
            "traits": None if self.traits is None else _TRAITS.dump_python(self.traits, mode="json"),
            "draining": self.draining,
            "made_for": self.made_for,
        }


def offer_of(wire: Mapping[str, Any], credentials: Path) -> Offer:
    """An offer from JSON.

    Args:
        wire: as `Offer.wire` made it.
        credentials: the folder of this gateway's own; see `TlsAddress`.
    """
    first, *others = wire["address"]
    address: Address = TlsAddress(first, others[0], others[1], credentials) if others else Path(first)
    settings = DeploymentSettings.model_validate(wire["settings"])
    traits = None if wire["traits"] is None else _TRAITS.validate_python(wire["traits"])
    plain = {name: value for name, value in wire.items() if name not in {"address", "settings", "traits", "nodes"}}
    return Offer(**plain, nodes=tuple(wire["nodes"]), address=address, settings=settings, traits=traits)


def offers_of(wires: Mapping[str, Mapping[str, Any]], credentials: Path) -> dict[str, Offer]:
    """Offers by their replicas' ids, without those of another version that this one does not understand."""
    found: dict[str, Offer] = {}
    for replica, wire in wires.items():
        try:
            found[replica] = offer_of(wire, credentials)
        except (ValueError, TypeError, KeyError) as exc:
            log.warning("offer_not_understood", replica=replica, error=type(exc).__name__)
    return found


@dataclass(frozen=True, slots=True)
class Want:
    """What one gateway has to do for one engine of a deployment.

    Args:
        running: requests that its replicas work on for it.
        waiting: requests that wait there.
        waited_s: how long the first of these has waited.
        lent: how many have got a replica since it started.
        held: by a replica's id, how many requests it works on for this gateway.
        doubted: ids of replicas that do not answer it.
    """

    running: int = 0
    waiting: int = 0
    waited_s: float = 0.0
    lent: int = 0
    held: Mapping[str, int] = field(default_factory=dict)
    doubted: tuple[str, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return self.running > 0 or self.waiting > 0

    def wire(self) -> list[Any]:
        """As JSON."""
        return [self.running, self.waiting, self.waited_s, self.lent, dict(self.held), list(self.doubted)]


NOTHING: Final = Want()


def want_of(wire: Sequence[Any]) -> Want:
    """The same from JSON."""
    running, waiting, waited_s, lent, held, doubted = wire
    return Want(running, waiting, waited_s, lent, held, tuple(doubted))


def wants_of(body: Mapping[str, Sequence[Any]]) -> dict[str, Want]:
    """What a gateway has to do, by deployment and engine; what another version says otherwise is left out."""
    found: dict[str, Want] = {}
    for key, wire in body.items():
        with suppress(ValueError, TypeError):
            found[key] = want_of(wire)
    return found


def together(wants: Sequence[Want]) -> Want:
    """What several gateways have to do between them."""
    held: dict[str, int] = {}
    for want in wants:
        for replica, count in want.held.items():
            held[replica] = held.get(replica, 0) + count
    return Want(
        sum(want.running for want in wants),
        sum(want.waiting for want in wants),
        max((want.waited_s for want in wants), default=0.0),
        sum(want.lent for want in wants),
        held,
        tuple(sorted({replica for want in wants for replica in want.doubted})),
    )
