"""Which replica serves, which goes, and how many may wait, told without an engine."""

from dataclasses import dataclass

from freehold.serving.choice import Wish, choose, room, surplus
from freehold.types.deployment import ReplicaState
from freehold.types.engine import Feature, Traits

CHATS = Traits(features=frozenset({Feature.CHAT}))


@dataclass(eq=False)
class Some:
    """A replica as far as choosing looks."""

    id: str
    in_flight: int = 0
    doubt: int = 0
    usable: bool = True
    free: bool = True
    traits: Traits = CHATS
    state: ReplicaState = ReplicaState.READY
    retiring: bool = False
    hopeless: bool = False
    retry_at: float = 0.0


def test_health_goes_before_ability_and_ability_before_idleness() -> None:
    """The healthy one is taken, of several the able one, of those the idlest, of those the longest unused."""
    able = Traits(features=frozenset({Feature.CHAT, Feature.SEED}))
    replicas = [
        Some("ill", doubt=1, traits=able),
        Some("unable"),
        Some("busy", in_flight=3, traits=able),
        Some("late", in_flight=1, traits=able),
        Some("early", in_flight=1, traits=able),
    ]
    wish = Wish(frozenset({Feature.SEED}))
    order = []
    while (found := choose(replicas, wish, {"late": 7, "early": 3})) is not None:
        order.append(found.id)
        replicas.remove(found)
    assert order == ["early", "late", "busy", "unable", "ill"]


def test_the_same_text_gets_the_same_replica() -> None:
    """Where several are equally busy the text decides, whoever was used last."""
    replicas = [Some(f"chat-{number}") for number in range(8)]
    found = {choose(replicas, Wish(affinity="a text"), {f"chat-{turn}": turn}) for turn in range(8)}
    assert len(found) == 1


def test_what_serves_least_goes_first() -> None:
    """Of too many replicas those go that do not serve, then those in doubt, then the idle ones of no use."""
    replicas = [Some("idle"), Some("busy", in_flight=2), Some("starting", usable=False), Some("ill", doubt=2)]
    assert [replica.id for replica in surplus(replicas, 1)] == ["idle", "ill", "starting"]


def test_nobody_is_refused_who_will_be_served_at_once() -> None:
    """While nothing serves as many may wait as will be served at once; after that the queue's length holds."""
    assert room(2, [Some("starting", usable=False)], 3, 4) == 12
    assert room(2, [Some("ready")], 3, 4) == 2
    assert room(2, [], 3, None) == 3
