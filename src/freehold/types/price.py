"""What use costs: prices, the day from which each is in force, and what a request's usage comes to."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import Field, field_validator

from freehold.types.base import SettingsModel
from freehold.types.money import MICRO, decimal_from_micro, micro_from_decimal

_AMOUNTS = ("input", "cached_input", "output", "image")


class Price(SettingsModel):
    """Micro-units of money per million tokens, and per picture.

    Written in a file as decimals of the whole unit: `input = "0.15"` is 150,000 micro-units for a million tokens.
    """

    since: Annotated[date | None, Field(alias="from")] = None
    """The first day, UTC, on which it is in force; without it, from the beginning."""
    input: int = 0
    cached_input: int | None = None
    """Prompt tokens that the engine had at hand; the price of `input` where it is not given."""
    output: int = 0
    image: int = 0

    @field_validator(*_AMOUNTS, mode="before")
    @classmethod
    def _micro(cls, value: Any) -> Any:
        return None if value is None else micro_from_decimal(value)

    @cached_property
    def version(self) -> str:
        """Names this price on receipts: its first day and the beginning of the digest of its amounts."""
        amounts = ",".join(f"{name}={getattr(self, name)}" for name in _AMOUNTS)
        return f"{self.since or 'always'}/{hashlib.sha256(amounts.encode()).hexdigest()[:12]}"

    def cost_micro(
        self, *, prompt_tokens: int = 0, cached_tokens: int = 0, completion_tokens: int = 0, images: int = 0
    ) -> int:
        """What usage costs in micro-units, rounded up to a whole one; `cached_tokens` are part of the prompt's."""
        cached_input = self.input if self.cached_input is None else self.cached_input
        millionths = (
            (prompt_tokens - cached_tokens) * self.input
            + cached_tokens * cached_input
            + completion_tokens * self.output
        )
        return -(-millionths // MICRO) + images * self.image

    def bound_micro(self, *, prompt_tokens: int, completion_tokens: int, images: int = 0) -> int:
        """The most that a request of so many tokens can cost, however much of its prompt is cached."""
        dearest = max(self.input, self.cached_input or 0)
        return -(-(prompt_tokens * dearest + completion_tokens * self.output) // MICRO) + images * self.image

    def times(self, millionths: int) -> Self:
        """This price multiplied by so many millionths, each amount rounded up to a whole micro-unit."""
        if millionths == MICRO or self == FREE:
            return self
        amounts = {name: getattr(self, name) for name in _AMOUNTS}
        scaled = {
            name: None if amount is None else -(-amount * millionths // MICRO) for name, amount in amounts.items()
        }
        return type(self).model_construct(since=self.since, **scaled)

    def wire(self) -> dict[str, str]:
        """The price as it is written in a file, in whole units."""
        amounts = {name: getattr(self, name) for name in _AMOUNTS}
        body = {name: decimal_from_micro(amount) for name, amount in amounts.items() if amount is not None}
        return {"from": self.since.isoformat(), **body} if self.since else body


FREE = Price()


def check_dates(prices: Sequence[Price]) -> tuple[Price, ...]:
    """The prices by their first day.

    Raises:
        ValueError: two begin on the same day.
    """
    ordered = sorted(prices, key=_first_day)
    for earlier, later in pairwise(ordered):
        if earlier.since == later.since:
            raise ValueError(f"two prices are in force from {later.since or 'the beginning'}")
    return tuple(ordered)


def price_at(prices: Sequence[Price], when_s: float) -> Price:
    """The price in force at a time (seconds since the epoch); before the first one, and without any, nothing."""
    if len(prices) == 1 and prices[0].since is None:
        return prices[0]  # as of most deployments, on all days
    today = datetime.fromtimestamp(when_s, UTC).date()
    return next((price for price in reversed(prices) if _first_day(price) <= today), FREE)


def _first_day(price: Price) -> date:
    return price.since or date.min
