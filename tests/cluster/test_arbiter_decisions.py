"""Whatever makes the arbiter quicker leaves what it decides as it was."""

import json

from freehold.cluster.arbiter.decisions import Place, Preempt
from tests.cluster.histories import DECIDED, SEEDS, History


def test_random_histories_are_decided_as_before() -> None:
    """In a hundred random histories everything is decided as it was by the plain code, before there were indexes."""
    before = json.loads(DECIDED.read_text(encoding="utf-8"))
    assert len(before) == SEEDS
    assert [seed for seed in range(SEEDS) if History(seed).digest() != before[seed]] == []


def test_the_digest_tells_decisions_apart() -> None:
    """Another seed, or more events, has another digest."""
    assert len({History(seed).digest(events) for seed in (0, 1) for events in (100, 200)}) == 4
    assert repr(Place("w", ("n",), 1.0)) != repr(Preempt("w", None, 2.0, 1.0))
