from hypothesis import given
from hypothesis import strategies as st

from freehold.serving.autoscale import Autoscaler, Observation
from freehold.types.deployment import AutoscaleSettings


def scaler(least: int = 0, most: int = 8, replicas: int = 1) -> Autoscaler:
    settings = AutoscaleSettings(min=least, max=most, queue_time_s=2.0, down_after_s=60.0)
    return Autoscaler(settings, replicas)


def seen(
    at: float, ready: int = 1, running: int = 0, waiting: int = 0, waited: float = 0.0, tokens: float | None = None
) -> Observation:
    return Observation(at, ready, running, waiting, waited, 4, tokens)


def test_who_waits_too_long_brings_replicas_for_all_at_once() -> None:
    """As many replicas come as give a slot to all that run and wait, as soon as one has waited too long."""
    autoscaler = scaler()
    assert autoscaler.look(seen(0.0, running=4, waiting=9, waited=1.9)) == 1
    assert autoscaler.look(seen(1.0, running=4, waiting=9, waited=2.9)) == 4
    assert "wait" in autoscaler.reason


def test_no_more_come_than_the_settings_allow() -> None:
    """The settings' bounds hold whatever waits."""
    assert scaler(most=3).look(seen(0.0, running=4, waiting=90, waited=9.0)) == 3
    assert scaler(least=2, replicas=2).look(seen(0.0, ready=2)) == 2


def test_replicas_go_only_when_fewer_were_enough_for_a_while() -> None:
    """A short lull takes nothing away; a long one takes what was not needed in any moment of it."""
    autoscaler = scaler(replicas=4)
    for second in range(60):
        assert autoscaler.look(seen(second, ready=4, running=16 if second == 0 else 5)) == 4
    assert autoscaler.look(seen(61.0, ready=4, running=5)) == 2


def test_a_deployment_without_requests_goes_to_nothing_and_comes_back_with_the_first() -> None:
    """After `down_after_s` without a request no replica is wanted, and one is as soon as a request comes."""
    autoscaler = scaler()
    wanted = [autoscaler.look(seen(float(second))) for second in range(0, 70, 10)]
    assert wanted == [1, 1, 1, 1, 1, 1, 0]
    assert autoscaler.wake(100.0) == 1
    assert autoscaler.look(seen(101.0, ready=0, waiting=1, waited=1.0)) == 1
    assert autoscaler.look(seen(130.0)) == 1
    assert autoscaler.look(seen(192.0)) == 0


def test_more_come_before_anybody_waits_when_what_replicas_can_do_is_nearly_used() -> None:
    """One that was seen to do 100 tokens a second when it was busy is not left alone with 95."""
    autoscaler = scaler()
    assert autoscaler.look(seen(0.0, running=4, tokens=100.0)) == 2
    assert autoscaler.look(seen(200.0, ready=2, running=2, tokens=80.0)) <= 2
    assert autoscaler.look(seen(201.0, ready=2, running=6, tokens=190.0)) == 3


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 30), st.integers(0, 30), st.floats(0, 30), st.floats(0, 1000)),
        max_size=60,
    ),
    st.integers(0, 3),
)
def test_the_bounds_hold_whatever_is_seen(looks: list[tuple[int, int, int, float, float]], least: int) -> None:
    """There are never fewer than `min` or more than `max`, and what waits too long never sees fewer come."""
    autoscaler = scaler(least=least, most=5, replicas=2)
    for at, (ready, running, waiting, waited, tokens) in enumerate(looks):
        before = autoscaler.wanted
        wanted = autoscaler.look(seen(at * 7.0, ready, running, waiting, waited if waiting else 0.0, tokens))
        assert least <= wanted <= 5
        if waiting and waited > 2.0:
            assert wanted >= min(5, max(1, (running + waiting + 3) // 4)), before
