"""The review of an area's pages: axe-core finds nothing, nothing sticks out, and pictures are written to look at."""

from collections.abc import Sequence
from itertools import product

from tests.service import Service
from tests.web.browser import DESKTOP, PHONE, Pages, cut_off, shoot, violations
from tests.web.sights import Sight


def review(
    pages: Pages,
    service: Service,
    email: str,
    sights: Sequence[Sight],
    *,
    every_look: bool,
    in_order: bool = False,
) -> None:
    """Visit every sight: by turns in light on a desk and in dark on a phone, or with `every_look` in all four looks.

    Args:
        pages: a browser.
        service: the server.
        email: who looks.
        sights: what to visit.
        every_look: whether each sight is visited in all looks.
        in_order: whether a sight needs those before it, so that none is left out in any look.

    Raises:
        AssertionError: with everything that was found, all sights together.
    """
    found: list[str] = []
    all_looks = list(product((False, True), (DESKTOP, PHONE)))
    whole = every_look or in_order
    for dark, size in all_looks if every_look else (all_looks[0], all_looks[-1]):
        look = f"{'dark' if dark else 'light'}-{'desktop' if size == DESKTOP else 'phone'}"
        with pages.person(service, email, size=size, dark=dark) as page:
            for sight in sights if whole else sights[int(dark) :: 2]:
                page.goto(sight.path)
                sight.arrive(page)
                found += [f"{sight.name} {look}: {each}" for each in (*violations(page), *cut_off(page))]
                shoot(page, f"{sight.name}-{look}")
    assert not found, "\n".join(found)
