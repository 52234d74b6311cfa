"""The review of an area's pages: axe-core finds nothing, nothing sticks out, and pictures are written to look at."""

from collections.abc import Sequence
from itertools import product

from tests.service import Service
from tests.web.browser import DESKTOP, PHONE, Pages, cut_off, shoot, violations
from tests.web.sights import Sight


def review(pages: Pages, service: Service, email: str, sights: Sequence[Sight], *, every_look: bool) -> None:
    """Visit every sight, in light on a desk and in dark on a phone; with `every_look` also the other way round.

    Raises:
        AssertionError: with everything that was found, all sights together.
    """
    found: list[str] = []
    looks = product((False, True), (DESKTOP, PHONE)) if every_look else ((False, DESKTOP), (True, PHONE))
    for dark, size in looks:
        look = f"{'dark' if dark else 'light'}-{'desktop' if size == DESKTOP else 'phone'}"
        with pages.person(service, email, size=size, dark=dark) as page:
            for sight in sights:
                page.goto(sight.path)
                sight.arrive(page)
                found += [f"{sight.name} {look}: {each}" for each in (*violations(page), *cut_off(page))]
                shoot(page, f"{sight.name}-{look}")
    assert not found, "\n".join(found)
