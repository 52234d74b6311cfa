"""The lease of the lead over a cluster, under histories drawn at random."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from freehold.cluster.leader import LEASE_S, MARGIN_S, led
from freehold.types.lead import Lead

SECOND_US = 1_000_000


@dataclass
class Gateway:
    """One process of a gateway, and what it believes."""

    name: str
    epoch: int = 0
    until_us: int = 0
    read: tuple[Lead, int] | None = None
    seen: list[int] = field(default_factory=list)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["read", "write", "give up", "restart", "pass"]),
        st.integers(0, 2),
        st.integers(0, 12 * SECOND_US),
    ),
    max_size=60,
)


@given(STEPS)
def test_there_is_never_more_than_one_leader_and_epochs_only_grow(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is read, written late, given up or restarted, one leads at most, and each change has its own epoch."""
    row, now_us = Lead(), 1_000 * SECOND_US
    gateways = [Gateway(name) for name in "abc"]
    holders: dict[int, str] = {}
    for what, which, pause_us in steps:
        gateway = gateways[which]
        if what == "pass":
            now_us += pause_us
        elif what == "restart":  # the process before has ended for good
            gateways[which] = Gateway(gateway.name)
        elif what in {"read", "give up"}:
            gateway.read = (row, now_us)
        if what in {"write", "give up"} and gateway.read is not None:
            before, asked_us = gateway.read
            gateway.read = None
            after = led(before, gateway.name, gateway.epoch, asked_us, wants=what == "write")
            assert after.epoch >= before.epoch
            if before == row:  # the database writes only over what was read
                row = after
                if after.holder == gateway.name and what == "write" and after.lives(asked_us):
                    gateway.epoch = after.epoch
                    gateway.until_us = asked_us + round((LEASE_S - MARGIN_S) * SECOND_US)
                    assert holders.setdefault(after.epoch, gateway.name) == gateway.name
            if what == "give up":
                gateway.until_us = 0
        leading = [each.name for each in gateways if now_us < each.until_us]
        assert len(leading) <= 1, leading
        assert not leading or (row.holder == leading[0] and row.lives(now_us))


def test_a_lease_is_renewed_taken_when_it_ended_and_given_up() -> None:
    """Who has it keeps its epoch, who takes it has the next one, and a process that was restarted begins a new one."""
    first = led(Lead(), "a", 0, 5 * SECOND_US, wants=True)
    assert (first.holder, first.epoch, first.since_us) == ("a", 1, 5 * SECOND_US)
    renewed = led(first, "a", 1, 9 * SECOND_US, wants=True)
    assert (renewed.epoch, renewed.since_us) == (1, first.since_us)
    assert renewed.expires_us > first.expires_us
    assert led(renewed, "b", 0, 10 * SECOND_US, wants=True) == renewed, "it lives"
    assert led(renewed, "a", 0, 10 * SECOND_US, wants=True).epoch == 2, "another process of the same gateway"
    taken = led(renewed, "b", 0, renewed.expires_us, wants=True)
    assert (taken.holder, taken.epoch) == ("b", 2)
    given_up = led(taken, "b", 2, taken.since_us + SECOND_US, wants=False)
    assert not given_up.lives(taken.since_us + SECOND_US)
    assert led(given_up, "a", 1, taken.since_us + SECOND_US, wants=True).epoch == 3
