"""Days, moments and stretches of time as people type them."""

from datetime import UTC, date, datetime, timedelta

import typer

_UNITS_S = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_DIGITS = 9


def moment(text: str, option: str, *, last: bool = False) -> datetime:
    """A day's beginning, its end if it is the last one that counts, or a moment; UTC where it says no zone.

    Args:
        text: such as `2026-01-31` or `2026-01-31T09:30`.
        option: where it was typed.
        last: whether a day counts whole.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            found = datetime.fromisoformat(text)
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=last)
    except (ValueError, OverflowError) as exc:
        raise typer.BadParameter(
            f"'{text}' must be a day such as 2026-01-31 or a moment such as 2026-01-31T09:30", param_hint=option
        ) from exc


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
