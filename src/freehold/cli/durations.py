"""Stretches of time as people type them."""

import typer

_UNITS_S = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_DIGITS = 9


def duration_s(text: str, option: str) -> int:
    """A stretch of time in seconds.

    Args:
        text: a whole number with its unit: `90d`, `24h`, `30m` or `45s`; a bare 0 is no time.
        option: where it was typed.

    Raises:
        typer.BadParameter: it is none.
    """
    number, unit = text[:-1], text[-1:]
    if text == "0":
        return 0
    if not (number.isascii() and number.isdigit() and unit in _UNITS_S and len(number) <= _DIGITS):
        raise typer.BadParameter(f"'{text}' must be a number with d, h, m or s, such as 90d or 24h", param_hint=option)
    return int(number) * _UNITS_S[unit]
