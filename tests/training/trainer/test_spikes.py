"""Leaps of the loss are left out, and too many of them send the training back."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from freehold.training.trainer.recipe import SpikeRecipe
from freehold.training.trainer.spikes import FEWEST, Spikes, Verdict

RECIPE = SpikeRecipe(window=32, deviations=6.0, patience=3, rollbacks=1)
LOSSES = st.floats(allow_nan=False, allow_infinity=False, width=32)


def quiet(spikes: Spikes, count: int = 40) -> None:
    """Tell so many losses that fall slowly and waver."""
    for step in range(count):
        assert spikes.judge(3.0 - step / 100 + 0.05 * math.sin(step * 1.7), 1.0) == "go"


def verdicts(spikes: Spikes, losses: list[float]) -> list[Verdict]:
    return [spikes.judge(loss, 1.0) for loss in losses]


def test_a_leap_is_left_out_and_forgotten() -> None:
    """A loss far above the last ones changes nothing, not even what is thought usual."""
    spikes = Spikes(RECIPE)
    quiet(spikes)
    before = spikes.state()["losses"]
    assert verdicts(spikes, [9.0]) == ["skip"]
    assert spikes.state()["losses"] == before
    assert verdicts(spikes, [2.7, 9.0]) == ["go", "skip"]


def test_what_is_no_number_is_a_leap_from_the_first_step_on() -> None:
    """A loss or a gradient that is infinite or not a number is never learnt from."""
    for loss, length in ((math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (2.0, math.inf)):
        assert Spikes(RECIPE).judge(loss, length) == "skip"


def test_too_many_leaps_in_a_row_send_the_training_back() -> None:
    """At the recipe's patience the newest checkpoint is asked for, beyond its rollbacks the training is given up."""
    spikes = Spikes(RECIPE)
    quiet(spikes)
    assert verdicts(spikes, [9.0, math.nan, 9.0]) == ["skip", "skip", "roll_back"]
    assert not spikes.exhausted
    assert verdicts(spikes, [9.0, 2.6, 9.0, 9.0]) == ["skip", "go", "skip", "skip"], "one that is usual breaks the row"
    assert verdicts(spikes, [9.0]) == ["roll_back"]
    assert spikes.exhausted


def test_going_back_does_not_forget_how_often() -> None:
    """A checkpoint from before the leaps restores what was usual then, but a training cannot go back for ever."""
    spikes = Spikes(RECIPE)
    quiet(spikes)
    saved = json.loads(json.dumps(spikes.state()))
    for _ in range(2):
        assert verdicts(spikes, [9.0, 9.0, 9.0])[-1] == "roll_back"
        spikes.restore(saved)
    assert spikes.state()["losses"] == saved["losses"]
    assert spikes.exhausted


def test_losses_that_hardly_differ_make_no_leap_of_a_small_one() -> None:
    """Where nothing wavers, a rise of some hundredths is no leap."""
    spikes = Spikes(RECIPE)
    assert verdicts(spikes, [2.0] * 40) == ["go"] * 40
    assert verdicts(spikes, [2.1, 4.0]) == ["go", "skip"]


@given(st.lists(LOSSES, max_size=FEWEST))
def test_too_few_losses_judge_none(losses: list[float]) -> None:
    """At the beginning every loss that is a number is learnt from."""
    assert verdicts(Spikes(RECIPE), losses) == ["go"] * len(losses)


@given(st.lists(LOSSES, min_size=1, max_size=80), st.data())
def test_what_is_restored_judges_as_what_was_saved(losses: list[float], data: st.DataObject) -> None:
    """A training that goes on from a checkpoint judges as one that was never stopped."""
    whole, first, second = Spikes(RECIPE), Spikes(RECIPE), Spikes(RECIPE)
    at = data.draw(st.integers(0, len(losses)))
    expected = verdicts(whole, losses)
    begun = verdicts(first, losses[:at])
    second.restore(json.loads(json.dumps(first.state())))
    assert begun + verdicts(second, losses[at:]) == expected
    assert second.state() == whole.state()


@given(st.lists(st.one_of(LOSSES, st.just(math.nan), st.just(math.inf)), max_size=100))
def test_no_loss_that_is_not_a_number_is_remembered(losses: list[float]) -> None:
    """Whatever comes, what is thought usual are numbers, the window's at most, and a row of skips ends at patience."""
    spikes = Spikes(RECIPE)
    row = 0
    for loss in losses:
        verdict = spikes.judge(loss, 1.0)
        row = row + 1 if verdict == "skip" else 0
        assert row < RECIPE.patience
        assert verdict != "go" or math.isfinite(loss)
    kept = spikes.state()["losses"]
    assert len(kept) <= RECIPE.window
    assert all(math.isfinite(loss) for loss in kept)
