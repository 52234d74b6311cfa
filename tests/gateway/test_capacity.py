"""The buckets of provisioned capacity: what they take, and what corrections leave in them."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import CapacityExceeded
from freehold.gateway.capacity import UTILIZATION_HEADER, Capacities, Meter
from freehold.gateway.capacity_bucket import Bucket, Draught
from freehold.types.capacity import UNIT_MINUTE, UNMEASURED, CapacitySettings, Weights, Work
from freehold.types.deployment import DeploymentSettings
from freehold.types.limits import Claim, Scope, Subject

SECOND = 1_000_000
BURST_S = 10
PLAIN = Weights(1, 1, 1, 1)
"""With these a token of work is one part of a unit-minute."""

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("take", "take", "settle")),
        st.integers(0, 40 * SECOND),
        st.integers(0, 3 * SECOND),
        st.integers(0, 30),
    ),
    max_size=60,
)
"""What is done, how much, how long after the step before, and with which of the open ones."""


@dataclass
class Begun:
    """One request as the model has it: when it began, and what it took, as far as that is known."""

    at_us: int
    amount: int
    draught: Draught = field(repr=False)


def _level(units: int, requests: list[Begun], now_us: int) -> int:
    """What a bucket holds that knew every amount from the beginning: request by request, from empty."""
    level, updated_us = 0, 0
    for request in requests:
        level = max(0, level - units * (request.at_us - updated_us)) + request.amount
        updated_us = request.at_us
    return max(0, level - units * (now_us - updated_us))


@given(units=st.integers(1, 20), steps=STEPS)
def test_a_correction_leaves_what_there_would_be_had_it_been_known(
    units: int, steps: list[tuple[str, int, int, int]]
) -> None:
    """However requests begin, end and turn out, a bucket holds what one holds that knew it from the beginning."""
    now_us = 0
    bucket = Bucket(units, BURST_S * SECOND, now_us)
    requests: list[Begun] = []
    running: list[Begun] = []
    for what, amount, passed_us, which in steps:
        now_us += passed_us
        bucket.advance(now_us)
        if what == "take":
            requests.append(Begun(now_us, amount, bucket.take(amount, PLAIN)))
            running.append(requests[-1])
        elif running:
            request = running.pop(which % len(running))
            request.amount = amount
            request.draught.settle(Work(amount), now_us)
        assert bucket.level == _level(units, requests, now_us)


@given(units=st.integers(1, 20), steps=STEPS)
def test_no_stretch_of_time_takes_more_than_the_units_do_and_a_bucket(
    units: int, steps: list[tuple[str, int, int, int]]
) -> None:
    """From any request to any later one, what was taken is at most the units' work, a bucket and the last request."""
    now_us = 0
    bucket = Bucket(units, BURST_S * SECOND, now_us)
    requests: list[Begun] = []
    running: list[Begun] = []
    for what, amount, passed_us, which in steps:
        now_us += passed_us
        bucket.advance(now_us)
        if what == "take":
            if bucket.wait_us() == 0:
                requests.append(Begun(now_us, amount, bucket.take(amount, PLAIN)))
                running.append(requests[-1])
        elif running:
            request = running.pop(which % len(running))
            request.amount = min(amount, request.amount)
            request.draught.settle(Work(request.amount), now_us)
    for last in range(len(requests)):
        taken = 0
        for first in range(last, -1, -1):
            taken += requests[first].amount
            passed_us = requests[last].at_us - requests[first].at_us
            assert taken <= units * (passed_us + BURST_S * SECOND) + requests[last].amount


@given(units=st.integers(1, 50), amounts=st.lists(st.integers(0, 400 * SECOND), min_size=1, max_size=20))
def test_the_wait_is_as_long_as_it_takes(units: int, amounts: list[int]) -> None:
    """What is told to come again after a while is taken then, and not a microsecond before."""
    now_us = 0
    bucket = Bucket(units, BURST_S * SECOND, now_us)
    for amount in amounts:
        wait_us = bucket.wait_us()
        assert wait_us is not None
        if wait_us:
            bucket.advance(now_us + wait_us - 1)
            assert bucket.wait_us() == 1
            now_us += wait_us
            bucket.advance(now_us)
        assert bucket.wait_us() == 0
        bucket.take(amount, PLAIN)


@given(
    begin_us=st.integers(0, 10**15),
    rate=st.floats(0.05, 0.95),
    units=st.integers(1, 100),
)
@settings(max_examples=50)
def test_the_utilization_is_what_it_is_driven_with(begin_us: int, rate: float, units: int) -> None:
    """A steady stream of requests reads as the share of the units' work that it takes, within a request or two."""
    meter = Meter("d", CapacitySettings(units=units), PLAIN, begin_us)
    every_us = 500_000
    amount = round(units * every_us * rate)
    now_us = begin_us
    for _ in range(300):
        meter.take("p", Work(amount), now_us)
        now_us += every_us
    assert meter.utilization(now_us) == pytest.approx(100 * rate, rel=0.03)


def test_the_utilization_of_a_minute_ago_is_forgotten() -> None:
    """After a minute without a request nothing is used, whatever was corrected meanwhile."""
    meter = Meter("d", CapacitySettings(units=1), PLAIN, 0)
    taken = meter.take("p", Work(5 * SECOND), 0)
    assert meter.utilization(10 * SECOND) == pytest.approx(50.0)
    taken.settle(Work(2 * SECOND), 20 * SECOND)
    assert meter.utilization(20 * SECOND) == pytest.approx(10.0)
    late = meter.take("p", Work(5 * SECOND), 20 * SECOND)
    assert meter.utilization(200 * SECOND) == 0
    late.settle(Work(9 * SECOND), 200 * SECOND)
    assert meter.utilization(200 * SECOND) == 0


def test_a_large_request_is_taken_while_there_is_room_and_the_next_one_waits() -> None:
    """As on Azure nothing is too large; what goes beyond has to run out before the next one."""
    meter = Meter("d", CapacitySettings(units=2), PLAIN, 0)
    meter.take("p", Work(100 * SECOND), 0)
    with pytest.raises(CapacityExceeded) as refused:
        meter.take("p", Work(1), 0)
    assert refused.value.retry_after_s == pytest.approx(40.0, abs=1e-5)
    assert "its 2 units are at 500 %" in refused.value.message
    assert refused.value.scope == Scope.DEPLOYMENT
    assert refused.value.headers[UTILIZATION_HEADER].endswith("%")
    wait_s = refused.value.retry_after_s
    assert wait_s is not None
    assert meter.take("p", Work(1), round(wait_s * SECOND)) is not None


def test_a_project_has_its_own_units_and_then_everybodys() -> None:
    """What is reserved for a project nobody else takes; when it is used up, the project takes of the rest."""
    settings = CapacitySettings(units=10, reserved={"mine": 4}, burst_s=1)
    meter = Meter("d", settings, PLAIN, 0)
    for _ in range(4):
        meter.take("other", Work(6 * SECOND), 0) if meter.use(0).shares[1].filled < 100 else None
    with pytest.raises(CapacityExceeded):
        meter.take("other", Work(1), 0)
    meter.take("mine", Work(4 * SECOND), 0)
    with pytest.raises(CapacityExceeded):
        meter.take("mine", Work(1), 0)
    meter.take("mine", Work(1), SECOND)
    use = meter.use(SECOND)
    assert [(share.project, share.units) for share in use.shares] == [("mine", 4), (None, 6)]
    assert use.units == 10


def test_units_of_one_project_are_no_other_ones() -> None:
    """Who is not the project whose all units are is refused without a time to come again."""
    meter = Meter("d", CapacitySettings(units=3, project="mine"), PLAIN, 0)
    with pytest.raises(CapacityExceeded) as refused:
        meter.take("other", Work(1), 0)
    assert refused.value.retry_after_s is None
    assert "None of the 3 provisioned units" in refused.value.message
    assert meter.take("mine", Work(1), 0) is not None


def test_other_units_and_weights_hold_from_now_on() -> None:
    """Other units or weights go on with what is in the bucket; open requests are corrected by the old weights."""
    now = [0.0]
    found = [DeploymentSettings(name="d", model="m", capacity=CapacitySettings(units=1))]
    weights = [Weights(1, 1, 1, 1)]
    capacities = Capacities(lambda _name: found[0], lambda _settings: weights[0], lambda: now[0])
    claim = Claim((Subject(Scope.DEPLOYMENT, "d"), Subject(Scope.PROJECT, "p")), 1, 0, 0.0, Work(20 * SECOND))
    taken = capacities.take(claim)
    assert taken is not None
    with pytest.raises(CapacityExceeded):
        capacities.take(claim)
    found[0] = found[0].model_copy(update={"capacity": CapacitySettings(units=4)})
    weights[0] = Weights(3, 3, 3, 3)
    use = capacities.use("d")
    assert use is not None
    assert use.filled == pytest.approx(50.0), "the same work in four times the units"
    capacities.settle(taken, {"prompt_tokens": 10 * SECOND})
    use = capacities.use("d")
    assert use is not None
    assert use.filled == pytest.approx(25.0), "by the weights of its beginning"
    found[0] = found[0].model_copy(update={"capacity": None})
    assert capacities.take(claim) is None
    assert capacities.use("d") is None


def test_what_a_unit_is() -> None:
    """A unit is a hundred tokens of completions a minute; tokens of prompts a quarter until they are measured."""
    weights = UNMEASURED["chat"]
    assert weights.amount(Work(completion_tokens=100)) == UNIT_MINUTE
    assert weights.amount(Work(prompt_tokens=400)) == UNIT_MINUTE
    assert weights.amount(Work(prompt_tokens=400, cached_tokens=400)) == 0
    assert UNMEASURED["embeddings"].amount(Work(prompt_tokens=1000)) == UNIT_MINUTE
    assert UNMEASURED["images"].amount(Work(prompt_tokens=50, images=1)) == 10 * UNIT_MINUTE


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"units": 0}, "greater than or equal to 1"),
        ({"units": 3, "reserved": {"a": 2, "b": 2}}, "4 units are reserved of 3"),
        ({"units": 3, "project": "a", "reserved": {"b": 2}}, "either 'project'"),
        ({"units": 3, "burst_s": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(body: dict[str, object], told: str) -> None:
    """What is wrong with units is named."""
    with pytest.raises(ValueError, match=told):
        CapacitySettings.model_validate(body)
