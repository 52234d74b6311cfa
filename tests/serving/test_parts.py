"""How slots of replicas are divided among gateways."""

from hypothesis import given
from hypothesis import strategies as st

from freehold.serving.parts import on_each, parts

WANTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50), min_size=1)


@given(st.integers(1, 64), WANTS)
def test_all_slots_are_given_out_and_nobody_is_without(slots: int, wants: dict[str, int]) -> None:
    """The parts come to what there is, each is at least one, and who wants an equal part or less has it."""
    found = parts(slots, wants)
    assert found.keys() == wants.keys()
    assert min(found.values()) >= 1
    assert sum(found.values()) == max(slots, len(wants))
    equal = slots // len(wants)
    assert all(found[name] >= min(wanted, equal) for name, wanted in wants.items())


@given(st.integers(1, 64), WANTS)
def test_who_lacks_slots_has_no_fewer_than_anyone_who_has_enough(slots: int, wants: dict[str, int]) -> None:
    """Nobody has more than he wants while another has more than one slot less and wants more."""
    found = parts(slots, wants)
    for name, wanted in wants.items():
        if found[name] < wanted:
            assert all(found[other] <= max(wants[other], found[name] + 1, 1) for other in wants)


@given(st.integers(1, 64), st.integers(1, 8), st.integers(0, 5))
def test_a_part_is_spread_over_all_replicas(part: int, replicas: int, turn: int) -> None:
    """Each replica has its share of a gateway's slots, the same but for one, and at least one."""
    each = on_each(part, replicas, turn)
    assert len(each) == replicas
    assert sum(each) == max(part, replicas) if part >= replicas else sum(each) == replicas
    assert max(each) - min(each) <= 1
