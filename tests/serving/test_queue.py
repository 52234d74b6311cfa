import asyncio
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import Overloaded
from freehold.serving.queue import Queue, Waiter
from freehold.types.engine import Tier

URGENCY = {tier: number for number, tier in enumerate(Tier)}


def _waiter(tier: Tier) -> Waiter[None, str]:
    return Waiter(tier, None, 1.0)


@given(tiers=st.lists(st.sampled_from(Tier)), most=st.integers(0, 8))
def test_the_most_urgent_are_kept_in_the_order_of_their_coming(tiers: list[Tier], most: int) -> None:
    """Of all who came, those wait who are first by tier and then by their coming, as many as may."""
    queue: Queue[None, str] = Queue("chat")
    come = [_waiter(tier) for tier in tiers]
    for waiter in come:
        with suppress(Overloaded):
            queue.join(waiter, most)
        assert len(queue) <= most
    wanted = sorted(come, key=lambda waiter: URGENCY[waiter.tier])[:most]
    assert list(queue) == wanted


@given(steps=st.lists(st.tuples(st.sampled_from(["join", "leave", "serve", "trim"]), st.sampled_from(Tier))))
def test_the_line_is_what_a_sorted_list_would_be(steps: list[tuple[str, Tier]]) -> None:
    """Whatever comes and goes, the line is the sorted list of those who joined and did not leave."""
    queue: Queue[None, str] = Queue("chat")
    line: list[Waiter[None, str]] = []
    for step, tier in steps:
        if step == "join":
            waiter = _waiter(tier)
            queue.join(waiter, 10_000)
            line = sorted([*line, waiter], key=lambda each: URGENCY[each.tier])
        elif step == "trim":
            queue.trim(3)
            line = line[:3]
        elif line and step == "leave":
            queue.leave(line.pop(len(line) // 2))
        elif line:
            queue.serve(line[0], "a slot")
            assert line.pop(0).grant == "a slot"
        assert list(queue) == line


def test_who_is_pushed_out_is_refused() -> None:
    """A full queue takes a newcomer of a higher tier, and the last of the lowest tier is told to try again."""

    async def main() -> None:
        queue: Queue[None, str] = Queue("chat")
        tiers = [Tier.FLEX, Tier.DEFAULT, Tier.FLEX]
        waiters = [_waiter(tier) for tier in tiers]
        for waiter in waiters:
            queue.join(waiter, 3)
        last = asyncio.create_task(waiters[2].woken(None))
        await asyncio.sleep(0)
        queue.join(_waiter(Tier.PRIORITY), 3)
        with pytest.raises(Overloaded, match=r"`chat`.*`flex`") as caught:
            await last
        assert (caught.value.status, caught.value.code) == (429, "resource_unavailable")
        assert caught.value.retry_after_s == 1.0
        assert list(queue)[1:] == [waiters[1], waiters[0]]

    asyncio.run(main())


def test_equals_do_not_push_each_other_out() -> None:
    """A full queue refuses a newcomer of a tier that nobody in it is below."""
    queue: Queue[None, str] = Queue("chat")
    for tier in (Tier.PRIORITY, Tier.DEFAULT):
        queue.join(_waiter(tier), 2)
    for tier in (Tier.DEFAULT, Tier.FLEX):
        with pytest.raises(Overloaded, match=f"`{tier.value}`"):
            queue.join(_waiter(tier), 2)
    assert [waiter.tier for waiter in queue] == [Tier.PRIORITY, Tier.DEFAULT]


def test_a_refusal_is_heard_whenever_it_comes() -> None:
    """A waiter that is refused just as its time is over hears of it."""

    async def main() -> None:
        for _ in range(20):
            waiter = _waiter(Tier.DEFAULT)
            waiting = asyncio.create_task(waiter.woken(0.001))
            await asyncio.sleep(0)
            time.sleep(0.002)  # noqa: ASYNC251  # its time is over, and nothing has run meanwhile
            waiter.refuse(Overloaded("full"))
            with pytest.raises(Overloaded):
                await waiting

    asyncio.run(main())
