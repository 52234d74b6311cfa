"""Stretches of time as people type them."""

import pytest
import typer

from freehold.cli.durations import duration_s


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("24h", 86_400), ("30m", 1800), ("45s", 45), ("0", 0)]
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: int) -> None:
    """Days, hours, minutes and seconds, and no time at all."""
    assert duration_s(text, "--expires") == seconds


@pytest.mark.parametrize("text", ["", "d", "soon", "1.5h", "-1d", "90", "90w", "٣d", "1" * 20 + "d"])
def test_what_is_no_duration_is_told(text: str) -> None:
    """Whatever else is typed is wrong usage, with an example of what is right."""
    with pytest.raises(typer.BadParameter, match="90d"):
        duration_s(text, "--expires")
