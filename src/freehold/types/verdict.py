"""What a policy made of a text: what annotations and receipts are written from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from freehold.types.content_filter import FilterSettings, Side
from freehold.types.values import value_class


@dataclass(frozen=True, slots=True)
class Offsets:
    """Where in a choice's text an annotation belongs that follows it, in code points.

    Args:
        check: up to where the text is examined for good; it never falls.
        start: where the examined piece begins.
        end: the first code point after it.
    """

    check: int
    start: int
    end: int


@value_class
class Verdict:
    """What was found in a text or a piece of one, and what follows from it.

    Args:
        settings: the policy.
        side: which half of the request it is.
        lists: the blocklists that block on this side.
        found: a severity or "detected" by what it is: `hate`, `jailbreak`, `blocklist:NAME`, `personal_data:email`,
            `secret:github_token`. Nothing is what was left out.
        blocked: what it must not pass for: names of categories and shields, `blocklist:NAME`, `personal_data`,
            `secrets`.
        masked: what of `found` was hidden.
        failed: whether it could not be examined.
        offsets: where it is, if it follows a text that was sent before it was examined.
    """

    settings: FilterSettings
    side: Side
    lists: frozenset[str] = frozenset()
    found: Mapping[str, str] = field(default_factory=dict)
    blocked: tuple[str, ...] = ()
    masked: frozenset[str] = frozenset()
    failed: bool = False
    offsets: Offsets | None = None
