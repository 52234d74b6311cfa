"""The gateway does not get slower: its processor time for a request, by that of a bare pass-through in the same run."""

import asyncio

import pytest

from benchmarks.speed.guard import LEAST_SHARE, MEASURES, Effort, lost, quotients, stored
from benchmarks.speed.rounds import Summary


@pytest.mark.slow
@pytest.mark.llamacpp  # no engine, but it too wants the processor's cores for itself
def test_no_quarter_of_the_speed_is_lost() -> None:
    """With everything on, what is left of the bare pass-through's speed has not fallen by a quarter."""
    found = asyncio.run(quotients(Effort(requests=800, rounds=5)))
    assert lost(found, stored()) == []


def test_each_measure_has_a_stored_value() -> None:
    """The stored quotients are those that are measured, and no gateway costs less than the pass-through."""
    kept = stored()
    assert kept.keys() == MEASURES.keys()
    assert all(0 < value < 1 for value in kept.values())


@pytest.mark.parametrize("measure", list(MEASURES))
def test_a_lost_quarter_is_told(measure: str) -> None:
    """What falls below three quarters of its stored value is named with both values, and what does not is not."""
    kept = dict.fromkeys(MEASURES, 0.4)
    enough = 0.4 * LEAST_SHARE
    found = {name: Summary(enough, enough, enough) for name in MEASURES}
    assert lost(found, kept) == []
    (line,) = lost({**found, measure: Summary(0.29, 0.28, 0.31)}, kept)
    assert measure in line
    assert "0.290" in line
    assert "0.400" in line
