"""What gateways tell each other of replicas, there and back."""

import json
from pathlib import Path

from freehold.engines.base import EngineSpec
from freehold.serving.offers import Offer, Want, offers_of, together, wants_of
from freehold.types.address import TlsAddress
from freehold.types.engine import Feature, Traits
from tests.serving.trial import trial

OFFER = Offer(
    "chat-3.1",
    "chat",
    "trial",
    ("node-1", "node-2"),
    4711,
    TlsAddress("10.0.0.7", 20_001, "chat.freehold", Path("/there")),
    trial(options={"features": ["chat"]}, parallel=4),
    weights_sha256="ab" * 32,
    adapted=True,
    traits=Traits(frozenset({Feature.CHAT, Feature.SEED}), 4096, parallel=4, sizes=("256x256",)),
    made_for="digest",
)


def test_an_offer_is_read_as_it_was_told_with_the_readers_own_credentials() -> None:
    """All of it comes back; the folder of credentials is the reader's, and no file of the teller's is named."""
    wire = json.loads(json.dumps(OFFER.wire()))
    (found,) = offers_of({OFFER.id: wire}, Path("/here")).values()
    assert found.address == TlsAddress("10.0.0.7", 20_001, "chat.freehold", Path("/here"))
    assert "/there" not in json.dumps(wire)
    assert found == Offer(**{**{name: getattr(OFFER, name) for name in OFFER.__slots__}, "address": found.address})
    assert found.spec == EngineSpec(OFFER.settings, weights_sha256="ab" * 32, adapter=Path())


def test_what_another_version_tells_is_left_out_alone() -> None:
    """An offer, or what a gateway has to do, that is not understood does not hide the others."""
    wire = OFFER.wire()
    strange = {**wire, "settings": {**wire["settings"], "of_tomorrow": 1}}
    assert offers_of({"x": strange, "y": wire, "z": {}}, Path()).keys() == {"y"}
    want = Want(2, 1, 0.5, 9, {"chat-3.1": 2}, ("chat-3.2",))
    assert wants_of({"chat trial": want.wire(), "other": [1, 2]}) == {"chat trial": want}


def test_what_several_gateways_have_to_do_is_added_up() -> None:
    """Counts are sums, the longest wait counts, and each doubt is told once."""
    found = together([Want(2, 1, 0.5, 9, {"a": 2}, ("b",)), Want(1, 0, 0.0, 3, {"a": 1}, ("b", "a"))])
    assert found == Want(3, 1, 0.5, 12, {"a": 3}, ("a", "b"))
    assert found.busy
    assert not together([]).busy
