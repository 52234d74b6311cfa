"""What there is to see: the pages that the review visits, in light and dark, on a desk and on a phone."""

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page


@dataclass(frozen=True, slots=True)
class Sight:
    """One page, in one state.

    Args:
        name: of its pictures, for instance `console-keys`.
        path: where it is.
        arrive: waits until the page shows what is to be seen, and where need be clicks to it.
    """

    name: str
    path: str
    arrive: Callable[[Page], None]


def heading(name: str) -> Callable[[Page], None]:
    """Wait for a heading."""
    return lambda page: page.get_by_role("heading", name=name).first.wait_for()
