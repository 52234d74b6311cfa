"""Days, moments and stretches of time as people type them."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from freehold.cli.moments import duration_s, moment_or_ago

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("24h", timedelta(hours=24)),
        ("90m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_how_long_ago_is_a_moment(text: str, ago: timedelta) -> None:
    """A number and a unit are so long before now."""
    assert moment_or_ago(text, "--since", NOW) == NOW - ago


def test_a_day_or_a_moment_is_taken_too() -> None:
    """A day is its beginning in UTC."""
    assert moment_or_ago("2026-11-23", "--since", NOW) == datetime(2026, 11, 23, tzinfo=UTC)
    assert moment_or_ago("2026-11-23T09:30", "--since", NOW) == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "24", "h", "24 h", "-1h", "999999999w", ""])
def test_anything_else_is_refused(text: str) -> None:
    """What is neither is an error that names the option."""
    with pytest.raises(typer.BadParameter):
        moment_or_ago(text, "--since", NOW)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("24h", 86_400), ("30m", 1800), ("45s", 45), ("2w", 1_209_600), ("0", 0)]
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: int) -> None:
    """Days, hours, minutes and seconds, and no time at all."""
    assert duration_s(text, "--expires") == seconds


@pytest.mark.parametrize("text", ["", "d", "soon", "1.5h", "-1d", "90", "90y", "٣d", "1" * 20 + "d"])
def test_what_is_no_duration_is_told(text: str) -> None:
    """Whatever else is typed is wrong usage, with an example of what is right."""
    with pytest.raises(typer.BadParameter, match="90d"):
        duration_s(text, "--expires")
