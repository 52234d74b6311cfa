"""How the rate of learning rises and falls."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.training.trainer.recipe import ScheduleRecipe
from freehold.training.trainer.schedules import share

KINDS = st.sampled_from(["wsd", "cosine", "constant"])


@given(kind=KINDS, warmup=st.integers(0, 50), decay=st.floats(0, 1), floor=st.floats(0, 1), steps=st.integers(1, 200))
def test_range(kind: Any, warmup: int, decay: float, floor: float, steps: int) -> None:
    """A share lies between 0 and 1, rises during the warm-up, never rises after it, and stays above the floor."""
    schedule = ScheduleRecipe(kind=kind, warmup_steps=warmup, decay_share=decay, floor=floor)
    shares = [share(schedule, step, steps) for step in range(steps)]
    assert all(0 < each <= 1 for each in shares) or floor == 0
    assert shares[:warmup] == sorted(shares[:warmup])
    assert shares[warmup:] == sorted(shares[warmup:], reverse=True)
    assert all(each >= floor - 1e-12 for each in shares[warmup:])


def test_wsd() -> None:
    """Warm-up, stay, and a straight fall over the last share of the steps, to the floor just after the last."""
    schedule = ScheduleRecipe(kind="wsd", warmup_steps=4, decay_share=0.5, floor=0.2)
    shares = [share(schedule, step, 20) for step in range(21)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[4:11] == [1.0] * 7
    assert shares[15] == pytest.approx(0.6)
    assert shares[20] == pytest.approx(0.2)


def test_cosine() -> None:
    """Half a cosine from the end of the warm-up to the floor just after the last step."""
    schedule = ScheduleRecipe(kind="cosine", warmup_steps=10, floor=0.1)
    assert share(schedule, 10, 110) == 1.0
    assert share(schedule, 60, 110) == pytest.approx(0.55)
    assert share(schedule, 110, 110) == pytest.approx(0.1)


def test_constant() -> None:
    """Warm-up, and then always the same."""
    schedule = ScheduleRecipe(kind="constant", warmup_steps=2)
    assert [share(schedule, step, 5) for step in range(5)] == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_all_decay() -> None:
    """A decay that is as long as the training begins after the warm-up."""
    schedule = ScheduleRecipe(kind="wsd", warmup_steps=5, decay_share=1.0, floor=0.0)
    assert share(schedule, 5, 15) == 1.0
    assert share(schedule, 10, 15) == pytest.approx(0.5)
