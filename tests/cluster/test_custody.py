"""In whose hands a host is: who may take it from whom, and when it is forgotten."""

import pytest

from freehold.cluster.custody import HELD_S, Custody
from freehold.errors import Conflict, NotFound


class _Time:
    """A clock that is set."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time() -> _Time:
    """A clock at 0."""
    return _Time()


@pytest.fixture
def custody(time: _Time) -> Custody:
    """A host that the gateway `a` has made, in the name of epoch 1."""
    return Custody("a.1", "a", 1, time)


def test_a_later_epoch_takes_it_at_once(custody: Custody) -> None:
    """Whoever decides from now on has it, and who had it before has it no more."""
    custody.take("b.1", "b", 2)
    assert (custody.has("a.1"), custody.has("b.1"), custody.owner, custody.epoch) == (False, True, "b", 2)


def test_an_earlier_epoch_takes_nothing(custody: Custody, time: _Time) -> None:
    """A gateway that decided before gets nothing back, though nobody was heard for long."""
    custody.take("b.1", "b", 2)
    time.now_s = 1000.0
    with pytest.raises(Conflict, match="The gateway 'b' has the engine, in the name of epoch 2"):
        custody.take("a.2", "a", 1)
    assert custody.has("b.1")


def test_of_one_epoch_nobody_takes_what_another_holds(custody: Custody, time: _Time) -> None:
    """Another gateway waits until the one that has it was not heard for a while; the same one does not."""
    time.now_s = HELD_S - 1
    assert custody.held
    with pytest.raises(Conflict):
        custody.take("b.1", "b", 1)
    custody.take("a.2", "a", 1)
    time.now_s += HELD_S
    custody.take("b.1", "b", 1)
    assert custody.has("b.1")


def test_what_is_let_go_anybody_takes(custody: Custody) -> None:
    """Whoever hands it over need not be waited for; only who has it can let it go."""
    custody.let_go("b.1")
    assert custody.held
    custody.let_go("a.1")
    custody.take("b.1", "b", 1)
    assert custody.has("b.1")


def test_it_is_given_up_when_no_gateway_is_heard(custody: Custody, time: _Time) -> None:
    """After the time of grace nobody takes it any more, as it ends."""
    time.now_s = 100.0
    assert not custody.give_up(120.0)
    time.now_s = 121.0
    assert custody.give_up(120.0)
    with pytest.raises(NotFound):
        custody.take("a.2", "a", 1)


def test_who_is_heard_or_uses_it_keeps_it(custody: Custody, time: _Time) -> None:
    """Calls of the one that has it, work that goes on for him and requests of anybody count."""
    time.now_s = 100.0
    custody.heard()
    time.now_s = 200.0
    assert not custody.give_up(120.0)
    custody.called()
    time.now_s = 300.0
    assert (custody.silent_s, custody.give_up(120.0)) == (200.0, False)
    with custody.at_work():
        time.now_s = 1000.0
        assert (custody.silent_s, custody.give_up(120.0)) == (0.0, False)
    assert custody.silent_s == 0.0
    time.now_s = 1121.0
    assert custody.give_up(120.0)


def test_who_has_it_has_it_in_the_name_of_a_later_epoch_too(custody: Custody) -> None:
    """A gateway that leads again takes it from nobody; one that led in between and was late gets nothing."""
    assert custody.renew("a.1", 3)
    with pytest.raises(Conflict, match="in the name of epoch 3"):
        custody.take("b.1", "b", 2)
    assert custody.has("a.1")
    assert not custody.renew("b.1", 4)
    assert custody.epoch == 3
