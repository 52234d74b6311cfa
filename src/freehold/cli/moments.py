"""Days and moments as people type them."""

from datetime import UTC, date, datetime, timedelta

import typer


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
