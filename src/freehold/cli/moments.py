"""Days, moments and stretches of time as people type them."""

import re
from datetime import UTC, date, datetime, timedelta

import typer

_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS_S = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}


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
        text: a whole number with its unit: `2w`, `90d`, `24h`, `30m` or `45s`; a bare 0 is no time.
        option: where it was typed.

    Raises:
        typer.BadParameter: it is none.
    """
    if text == "0":
        return 0
    found = _DURATION.fullmatch(text)
    if found is None:
        raise typer.BadParameter(
            f"'{text}' must be a number with w, d, h, m or s, such as 90d or 24h", param_hint=option
        )
    return int(found[1]) * _UNITS_S[found[2]]


def moment_or_ago(text: str, option: str, now: datetime) -> datetime:
    """A moment as `moment` takes it, or how long ago it was.

    Args:
        text: such as `24h`, `90m` or `7d`, or what `moment` takes.
        option: where it was typed.
        now: when that is.

    Raises:
        typer.BadParameter: it is neither.
    """
    if _DURATION.fullmatch(text) is None:
        return moment(text, option)
    try:
        return now - timedelta(seconds=duration_s(text, option))
    except OverflowError as exc:
        raise typer.BadParameter(f"'{text}' is too long ago", param_hint=option) from exc
