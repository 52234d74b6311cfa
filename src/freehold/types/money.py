"""Money: integer micro-units, a millionth of the whole unit (a dollar, say)."""

from decimal import Decimal
from typing import Any

MICRO = 1_000_000
MAX_MICRO = 10**15
"""The highest amount that is accepted: a billion whole units."""


def micro_from_decimal(value: Any) -> int:
    """Micro-units of an amount that is written in whole units, such as `"0.15"`.

    Raises:
        ValueError: it is not a decimal number from 0 to 1000000000 with at most six decimals.
    """
    try:
        micro = Decimal(str(value)) * MICRO
    except ArithmeticError as exc:
        raise ValueError('must be a decimal number such as "0.15"') from exc
    if not micro.is_finite() or not 0 <= micro <= MAX_MICRO or micro != micro.to_integral_value():
        raise ValueError("must not be negative, at most 1000000000, and have at most six decimals")
    return int(micro)


def decimal_from_micro(micro: int) -> str:
    """Micro-units as they are written in whole units: 150000 is `0.15`."""
    return format((Decimal(micro) / MICRO).normalize(), "f")
