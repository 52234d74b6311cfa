"""Samples taken in turn, and what they come to."""

from collections import Counter

from benchmarks.speed.rounds import Samples, Summary, in_turn


def test_each_has_its_turn_in_every_round() -> None:
    """Every contender is measured once a round, and not always in the same place."""
    turns = list(in_turn(("a", "b", "c"), 6))
    assert Counter(turns) == {(number, name): 1 for number in range(6) for name in "abc"}
    assert len({name for number, name in turns[::3]}) == 3


def test_ratios_are_of_one_round() -> None:
    """A ratio is the median of the quotients of one round's two values, and rounds without one of them do not count."""
    samples = Samples()
    for above, below in ((10.0, 5.0), (90.0, 9.0), (8.0, 2.0), (None, 1.0)):
        samples.add("above", {"rate": above})
        samples.add("below", {"rate": below})
    assert samples.ratio("above", "below", "rate") == Summary(4.0, 2.0, 10.0)
    assert samples.ratio("above", "absent", "rate") is None


def test_a_summary_has_median_and_range() -> None:
    """A summary tells the median, the least and the greatest value."""
    assert Summary.of([3.0, 1.0, 2.0]) == Summary(2.0, 1.0, 3.0)
    assert Summary.of([]) is None
